//! How `userfilefs umount` and `mount -o remount` talk to the daemon of a mount.
//!
//! The daemon listens on an abstract unix socket named after the device number of its filesystem. That needs no
//! directory, leaves nothing behind after a crash, and root reaches the mounts of every user. Each side looks
//! at the other's uid: the daemon serves root and its own user, the client trusts root and the user that the
//! table of mounts names.
//!
//! A request is one line; answers are lines `word rest`:
//!
//! | request | answers |
//! |---|---|
//! | `info` | `pid N`, `read_only 0/1`, `status TEXT`, `end` |
//! | `state` | `text LINE`..., `end` |
//! | `drain SECONDS` | `busy TEXT` every second, `lost NAME`..., `drained`; then, once the mount has ended, `lost NAME`..., `failed TEXT`, `ended` |

use std::io::{self, BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as std_unix;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::mount::session::{Lifecycle, Outcome, write_back};

/// Longest request line.
const REQUEST_BYTES_MAX: u64 = 256;
/// How long a client may take to send its request.
const REQUEST_WAIT: Duration = Duration::from_secs(10);
/// How often a waiting client hears of a drain.
const BUSY_EVERY: Duration = Duration::from_secs(1);
/// How long a client waits for the daemon's next line; several times [`BUSY_EVERY`].
const ANSWER_WAIT: Duration = Duration::from_secs(10);

fn address(dev: &str) -> io::Result<std_unix::SocketAddr> {
    std_unix::SocketAddr::from_abstract_name(format!("userfilefs/{dev}"))
}

/// Listens for the filesystem `dev`. `ending` turns to the outcome when the mount has ended. Abort the task to free
/// the name; connections that are open then live on. If the name is taken, by the daemon of an earlier mount that
/// is still storing, listening begins when it is free.
///
/// Must run inside a tokio runtime.
pub fn serve<L: Lifecycle>(
    dev: &str,
    dir: PathBuf,
    served: Arc<L>,
    ending: watch::Receiver<Option<Outcome>>,
) -> JoinHandle<()> {
    let first = bind(dev);
    let dev = dev.to_string();
    tokio::spawn(async move {
        let mut bound = first;
        let listener = loop {
            match bound {
                Ok(listener) => break listener,
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => tokio::time::sleep(BUSY_EVERY).await,
                Err(e) => {
                    return log::warn!(
                        "no control socket, so nobody can wait for the end of this mount: {e}"
                    );
                }
            }
            bound = bind(&dev);
        };
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let client = client(stream, dir.clone(), Arc::clone(&served), ending.clone());
                    tokio::spawn(async move {
                        if let Err(e) = client.await {
                            log::debug!("a client of the control socket: {e}");
                        }
                    });
                }
                Err(e) => {
                    log::warn!("control socket: {e}");
                    tokio::time::sleep(BUSY_EVERY).await;
                }
            }
        }
    })
}

fn bind(dev: &str) -> io::Result<UnixListener> {
    let listener = std_unix::UnixListener::bind_addr(&address(dev)?)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

async fn client<L: Lifecycle>(
    stream: UnixStream,
    dir: PathBuf,
    served: Arc<L>,
    ending: watch::Receiver<Option<Outcome>>,
) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let (reader, mut writer) = stream.into_split();
    if peer != 0 && peer != nix::unistd::geteuid().as_raw() {
        return writer.write_all(b"failed only root and the user that mounted it may ask\n").await;
    }
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(reader.take(REQUEST_BYTES_MAX));
    tokio::time::timeout(REQUEST_WAIT, reader.read_line(&mut line))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    match line.trim_end().split_once(' ').unwrap_or((line.trim_end(), "")) {
        ("info", _) => {
            let text = format!(
                "pid {}\nread_only {}\nstatus {}\nend\n",
                std::process::id(),
                u8::from(served.read_only()),
                escaped(&served.status_line())
            );
            writer.write_all(text.as_bytes()).await
        }
        ("state", _) => {
            let mut text: String =
                served.state().lines().map(|line| format!("text {}\n", escaped(line))).collect();
            text.push_str("end\n");
            writer.write_all(text.as_bytes()).await
        }
        ("drain", seconds) => {
            let seconds = seconds.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
            drain(&mut writer, Duration::from_secs(seconds), &dir, &*served, ending).await
        }
        _ => writer.write_all(b"failed the request is not known\n").await,
    }
}

async fn drain<L: Lifecycle>(
    writer: &mut tokio::net::unix::OwnedWriteHalf,
    timeout: Duration,
    dir: &std::path::Path,
    served: &L,
    mut ending: watch::Receiver<Option<Outcome>>,
) -> io::Result<()> {
    // Before the work begins the client hears that somebody is there.
    writer.write_all(format!("busy {}\n", escaped(&served.status_line())).as_bytes()).await?;
    let work = async {
        write_back(dir).await;
        served.store(timeout).await
    };
    tokio::pin!(work);
    let lost = loop {
        match tokio::time::timeout(BUSY_EVERY, &mut work).await {
            Ok(lost) => break lost,
            Err(_) => {
                writer.write_all(format!("busy {}\n", escaped(&served.status_line())).as_bytes()).await?
            }
        }
    };
    writer.write_all(format!("{}drained\n", lost_lines(&lost)).as_bytes()).await?;
    let outcome = loop {
        // The guard of the channel must not live across an await.
        let end = async { ending.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) };
        match tokio::time::timeout(BUSY_EVERY, end).await {
            Ok(Ok(outcome)) => break outcome.unwrap_or_default(),
            Ok(Err(_)) => return Ok(()),
            Err(_) => {
                writer.write_all(format!("busy {}\n", escaped(&served.status_line())).as_bytes()).await?
            }
        }
    };
    let mut text = lost_lines(&outcome.lost);
    if let Some(failure) = &outcome.failure {
        text.push_str(&format!("failed {}\n", escaped(failure)));
    }
    text.push_str("ended\n");
    writer.write_all(text.as_bytes()).await?;
    // The connection closes when the process ends: that is what the client waits for.
    std::future::pending().await
}

fn lost_lines(lost: &[String]) -> String {
    lost.iter().map(|name| format!("lost {}\n", escaped(name))).collect()
}

/// Names may hold anything; a line may not hold a newline.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

/// One answer of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is at work; where it stands.
    Busy(String),
    /// Something that could not be stored.
    Lost(String),
    /// Everything accepted so far is stored, or named as lost.
    Drained,
    /// The mount has ended and everything is stored, or named as lost.
    Ended,
    /// It refuses, or the mount ended badly.
    Failed(String),
    /// A line of an answer to `info` or `state`.
    Text(String, String),
    /// No more lines of an answer to `info` or `state`.
    End,
    /// The daemon is gone.
    Gone,
}

/// What a daemon says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Its process id, in its own namespace.
    pub pid: u32,
    /// Whether it refuses every change itself.
    pub read_only: bool,
    /// How much is open and not stored.
    pub status: String,
}

/// A client's connection to a daemon. Blocking.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<std_unix::UnixStream>,
    peer_pid: i32,
}

impl Client {
    /// Connects to the daemon of the filesystem `dev`, which `owner` is known to have mounted. Fails with
    /// `ConnectionRefused` if nobody listens, and with `PermissionDenied` if somebody else does.
    pub fn connect(dev: &str, owner: Option<u32>) -> io::Result<Client> {
        let stream = std_unix::UnixStream::connect_addr(&address(dev)?)?;
        let peer = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials)?;
        if peer.uid() != 0 && Some(peer.uid()) != owner {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        stream.set_write_timeout(Some(ANSWER_WAIT))?;
        Ok(Client { reader: BufReader::new(stream), peer_pid: peer.pid() })
    }

    /// Whether the daemon's process runs, as far as it can be seen from here: it closes its connections a moment before
    /// it is gone.
    pub fn peer_runs(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.peer_pid)).unwrap_or_default();
        // The state follows the name in parentheses; a zombie has ended.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    /// Sends a request.
    pub fn ask(&mut self, request: &str) -> io::Result<()> {
        self.reader.get_mut().write_all(format!("{request}\n").as_bytes())
    }

    /// The next answer; fails with `WouldBlock` or `TimedOut` if the daemon says nothing for several seconds.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut line = Vec::new();
        if self.reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(Answer::Gone);
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        Ok(match word {
            "busy" => Answer::Busy(rest.to_string()),
            "lost" => Answer::Lost(rest.to_string()),
            "drained" => Answer::Drained,
            "ended" => Answer::Ended,
            "failed" => Answer::Failed(rest.to_string()),
            "end" => Answer::End,
            _ => Answer::Text(word.to_string(), rest.to_string()),
        })
    }

    /// Whether the daemon of this mount refuses every change itself.
    pub fn read_only(self) -> io::Result<bool> {
        Ok(self.info()?.read_only)
    }

    /// What the daemon says of itself.
    pub fn info(mut self) -> io::Result<Info> {
        self.ask("info")?;
        let mut info = Info::default();
        loop {
            match self.answer()? {
                Answer::Text(word, value) => match word.as_str() {
                    "pid" => info.pid = value.parse().map_err(|_| io::ErrorKind::InvalidData)?,
                    "read_only" => info.read_only = value == "1",
                    "status" => info.status = value,
                    _ => {}
                },
                Answer::End => return Ok(info),
                Answer::Failed(_) => return Err(io::ErrorKind::PermissionDenied.into()),
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    /// The lines of the daemon's state.
    pub fn state(mut self) -> io::Result<Vec<String>> {
        self.ask("state")?;
        let mut lines = Vec::new();
        loop {
            match self.answer()? {
                Answer::Text(_, line) => lines.push(line),
                _ => return Ok(lines),
            }
        }
    }
}
