//! Between the program and its server: a relay that understands enough of the protocol to fail at a chosen message.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// What goes wrong at the chosen message from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It never arrives: every connection is cut before it.
    CutBefore,
    /// It arrives and its answer does not: every connection is cut after it.
    CutAfter,
    /// It arrives and then this connection is silent in both directions.
    Silence,
    /// The same, but the server hears of it when the client gives up and closes the connection.
    Unanswered,
    /// It arrives, and the answers of this connection are held back from here on until [`Wire::answer`].
    Late,
}

#[derive(Default)]
struct State {
    /// Messages left until the fault, and the fault.
    armed: Mutex<Option<(u64, Fault)>>,
    /// Only messages with these bytes in them count.
    word: Mutex<Vec<u8>>,
    fired: AtomicBool,
    messages: AtomicU64,
    /// Nothing is relayed while set; connections stay open.
    stalled: AtomicBool,
    /// New connections are refused while set.
    refusing: AtomicBool,
    closed: AtomicBool,
    next: AtomicU64,
    pairs: Mutex<BTreeMap<u64, Pair>>,
}

struct Pair {
    client: TcpStream,
    server: TcpStream,
    silent: Arc<AtomicBool>,
    /// Answers are held back.
    late: Arc<AtomicBool>,
}

/// A relay on a port of its own.
pub struct Wire {
    port: u16,
    state: Arc<State>,
}

impl Wire {
    /// Relays to a server on this machine.
    pub fn new(server: u16) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the relay");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                if shared.closed.load(Ordering::SeqCst) {
                    return;
                }
                if shared.refusing.load(Ordering::SeqCst) {
                    continue;
                }
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server)) {
                    relay(&shared, client, server);
                }
            }
        });
        Wire { port, state }
    }

    /// The URL of the same database through the relay.
    pub fn url(&self, url: &str) -> String {
        let (head, rest) = url.split_once("127.0.0.1:").expect("a URL of the test server");
        let (_, tail) = rest.split_once('/').expect("a database in the URL");
        format!("{head}127.0.0.1:{}/{tail}", self.port)
    }

    /// Fails at the `n`th message from now (the first is 1).
    pub fn arm(&self, n: u64, fault: Fault) {
        self.arm_at("", n, fault);
    }

    /// Fails at the `n`th message from now that has `word` in it.
    pub fn arm_at(&self, word: &str, n: u64, fault: Fault) {
        self.state.fired.store(false, Ordering::SeqCst);
        *self.state.word.lock() = word.as_bytes().to_vec();
        *self.state.armed.lock() = Some((n, fault));
    }

    /// Takes the fault back, ends silences; says whether it happened.
    pub fn disarm(&self) -> bool {
        *self.state.armed.lock() = None;
        self.state.pairs.lock().values().filter(|p| p.silent.load(Ordering::SeqCst)).for_each(cut);
        self.state.fired.load(Ordering::SeqCst)
    }

    /// Lets the answers that are held back go on; says whether there were any.
    pub fn answer(&self) -> bool {
        for pair in self.state.pairs.lock().values() {
            pair.late.store(false, Ordering::SeqCst);
        }
        *self.state.armed.lock() = None;
        self.fired()
    }

    /// Whether the fault has happened.
    pub fn fired(&self) -> bool {
        self.state.fired.load(Ordering::SeqCst)
    }

    /// Messages relayed from clients so far.
    pub fn messages(&self) -> u64 {
        self.state.messages.load(Ordering::SeqCst)
    }

    /// Holds all bytes back (true), or lets them go on.
    pub fn stall(&self, stalled: bool) {
        self.state.stalled.store(stalled, Ordering::SeqCst);
    }

    /// Cuts all connections and refuses new ones (true), or takes them again.
    pub fn down(&self, down: bool) {
        self.state.refusing.store(down, Ordering::SeqCst);
        if down {
            self.cut_all();
        }
    }

    /// Cuts all connections.
    pub fn cut_all(&self) {
        self.state.pairs.lock().values().for_each(cut);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        self.stall(false);
        self.cut_all();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn cut(pair: &Pair) {
    let _ = pair.client.shutdown(Shutdown::Both);
    let _ = pair.server.shutdown(Shutdown::Both);
}

fn relay(state: &Arc<State>, client: TcpStream, server: TcpStream) {
    let id = state.next.fetch_add(1, Ordering::SeqCst);
    let (silent, late) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let clone = |s: &TcpStream| s.try_clone().expect("a handle of a socket");
    let pair = Pair {
        client: clone(&client),
        server: clone(&server),
        silent: Arc::clone(&silent),
        late: Arc::clone(&late),
    };
    state.pairs.lock().insert(id, pair);
    let (to_client, to_server) = (clone(&client), clone(&server));
    let shared = Arc::clone(state);
    let (quiet, slow) = (Arc::clone(&silent), Arc::clone(&late));
    std::thread::spawn(move || {
        forward_requests(&shared, client, to_server, &quiet, &slow);
        if let Some(pair) = shared.pairs.lock().remove(&id) {
            cut(&pair);
        }
    });
    let shared = Arc::clone(state);
    std::thread::spawn(move || {
        forward_answers(&shared, server, to_client, &silent, &late);
        if let Some(pair) = shared.pairs.lock().remove(&id) {
            cut(&pair);
        }
    });
}

fn wait(state: &State, silent: &AtomicBool) {
    while (state.stalled.load(Ordering::SeqCst) || silent.load(Ordering::SeqCst))
        && !state.closed.load(Ordering::SeqCst)
    {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn forward_answers(
    state: &State,
    mut from: TcpStream,
    mut to: TcpStream,
    silent: &AtomicBool,
    late: &AtomicBool,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n) = from.read(&mut buffer) {
        wait(state, silent);
        wait(state, late);
        if n == 0 || to.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}

/// True if the other side has closed the connection, whatever is still to be read.
fn hung_up(socket: &TcpStream) -> bool {
    let events = libc::POLLRDHUP;
    let mut fd = libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(socket), events, revents: 0 };
    // SAFETY: one valid descriptor, no waiting.
    unsafe {
        libc::poll(&mut fd, 1, 0) > 0 && fd.revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) != 0
    }
}

/// Reads one message; the first of a connection has no type byte.
fn message(from: &mut TcpStream, first: bool) -> std::io::Result<Vec<u8>> {
    let head = if first { 4 } else { 5 };
    let mut bytes = vec![0; head];
    from.read_exact(&mut bytes)?;
    let len: [u8; 4] = bytes[head - 4..].try_into().expect("four bytes");
    bytes.resize(head - 4 + u32::from_be_bytes(len) as usize, 0);
    from.read_exact(&mut bytes[head..])?;
    Ok(bytes)
}

fn forward_requests(
    state: &State,
    mut from: TcpStream,
    mut to: TcpStream,
    silent: &AtomicBool,
    late: &AtomicBool,
) {
    let mut first = true;
    while let Ok(bytes) = message(&mut from, first) {
        first = false;
        wait(state, silent);
        state.messages.fetch_add(1, Ordering::SeqCst);
        let fault = {
            let mut armed = state.armed.lock();
            let word = state.word.lock();
            let counts = word.is_empty() || bytes.windows(word.len()).any(|part| part == word.as_slice());
            match armed.as_mut().filter(|_| counts) {
                Some((1, fault)) => {
                    let fault = *fault;
                    *armed = None;
                    state.fired.store(true, Ordering::SeqCst);
                    Some(fault)
                }
                Some((n, _)) => {
                    *n -= 1;
                    None
                }
                None => None,
            }
        };
        if fault == Some(Fault::CutBefore) {
            state.pairs.lock().values().for_each(cut);
            return;
        }
        if fault == Some(Fault::Late) {
            late.store(true, Ordering::SeqCst);
        } else if fault.is_some() {
            // The answer must not slip through before the connection is cut or silent.
            silent.store(true, Ordering::SeqCst);
        }
        if to.write_all(&bytes).is_err() {
            return;
        }
        if fault == Some(Fault::Unanswered) {
            while !hung_up(&from) && silent.load(Ordering::SeqCst) && !state.closed.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(2));
            }
            return;
        }
        if fault == Some(Fault::CutAfter) {
            std::thread::sleep(Duration::from_millis(15));
            state.pairs.lock().values().for_each(cut);
            silent.store(false, Ordering::SeqCst);
            return;
        }
    }
}
