//! A slow line: an answer is waited for as long as bytes move.

use crate::support::database::{database, options};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use userfilefs::sql::{Lane, Pool, PoolOptions, Settings};

const MIB: usize = 1 << 20;

/// A relay to a server on this machine that lets so many bytes a second through; its port.
fn slow_line(server: u16, per_second: usize) -> u16 {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    // Small, so that what waits for the line waits at the client. Connections inherit it.
    socket.set_recv_buffer_size(64 << 10).expect("buffer");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    socket.listen(8).expect("listen");
    let listener = TcpListener::from(socket);
    let port = listener.local_addr().expect("address").port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server))) else {
                return;
            };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (from, to) = (from.try_clone().expect("dup"), to.try_clone().expect("dup"));
                std::thread::spawn(move || relay(from, to, per_second));
            }
        }
    });
    port
}

fn relay(mut from: TcpStream, mut to: TcpStream, per_second: usize) {
    let mut buffer = [0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        std::thread::sleep(Duration::from_secs(1) * u32::try_from(n).expect("small") / per_second as u32);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_line_is_not_a_silent_one() {
    let Some(db) = database() else { return };
    let port = slow_line(db.server.port(), MIB);
    let patience = Duration::from_millis(1_500);
    let limits = PoolOptions {
        op_timeout: Some(patience),
        statement_timeout: Some(patience),
        connect_timeout: Duration::from_secs(5),
        ..options()
    };
    let pool = Pool::connect(Settings::parse(&db.url_via(port)).unwrap(), limits).await.unwrap();
    let data = vec![7u8; 4 * MIB];
    let start = Instant::now();
    let retry = pool.retry("send");
    let conn = retry.conn(Lane::Meta).await.unwrap();
    let rows = conn.query("SELECT length($1::bytea)", &[&data]).await.unwrap();
    assert_eq!(rows[0].get::<_, i32>(0), 4 * MIB as i32);
    assert!(start.elapsed() > patience * 2, "{:?}", start.elapsed());
    drop(conn);
    let conn = pool.retry("fetch").conn(Lane::Meta).await.unwrap();
    let start = Instant::now();
    let rows = conn.query("SELECT decode(repeat('07', 4194304), 'hex')", &[]).await.unwrap();
    assert!(rows[0].get::<_, &[u8]>(0) == data.as_slice());
    assert!(start.elapsed() > patience * 2, "{:?}", start.elapsed());
    // Those behind wait for their turn, as long as those in front get on.
    let fetches = (0..pool.lane_width(Lane::Download) * 3).map(|_| async {
        let retry = pool.retry("fetch");
        let conn = retry.conn(Lane::Download).await?;
        conn.query("SELECT repeat('x', 2500000)", &[]).await
    });
    for fetched in futures_util::future::join_all(fetches).await {
        assert_eq!(fetched.unwrap().len(), 1);
    }
    // Where nothing moves, the limit is what it says.
    let start = Instant::now();
    conn.query("SELECT pg_sleep(60)", &[]).await.unwrap_err();
    assert!(start.elapsed() < patience * 4, "{:?}", start.elapsed());
}
