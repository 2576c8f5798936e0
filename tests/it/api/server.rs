//! The server under peers that are slow, large, gone or many.

use std::time::Duration;

use http::{Method, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::double::served;
use crate::support::http_client::HttpClient;

const BODY_BYTES_MAX: usize = 33_554_432;

#[tokio::test]
async fn a_body_may_have_32_mebibytes_and_not_a_byte_more() {
    let served = served(None).await;
    let path = "/collections/plain/points/count";
    let largest = format!("{{}}{}", " ".repeat(BODY_BYTES_MAX - 2));
    assert_eq!(
        served.send(Method::POST, path, largest.clone()).await.0,
        200
    );
    let (status, text) = served.send(Method::POST, path, largest + " ").await;
    assert_eq!(status, 400, "{text}");
    assert!(
        text.contains("larger than allowed (limit: 33554432 bytes)"),
        "{text}"
    );
    // Without a length in front of it.
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"100000\r\n".as_slice(), &[b' '; 0x10_0000], b"\r\n"].concat();
    for _ in 0..40 {
        stream.write_all(&chunk).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 4_096];
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 400 "));
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let served = served(None).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    for _ in 0..3 {
        let request = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = vec![0; 4_096];
        let length = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("healthz check passed"), "{answer}");
    }
}

#[tokio::test]
async fn http_2_is_spoken_to_who_knows_it() {
    let served = served(None).await;
    let client = HttpClient::http2();
    let path = served.url("/collections/plain/points/count");
    let answer = client.post(&path).body("{}").send().await.unwrap();
    assert_eq!(answer.version, Version::HTTP_2);
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_server_that_stops_finishes_what_it_has_and_closes_the_rest() {
    let served = served(None).await;
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = vec![0; 4_096];
    assert!(idle.read(&mut bytes).await.unwrap() > 0);

    let mut busy = TcpStream::connect(served.address).await.unwrap();
    let head =
        b"POST /collections/plain/points/count HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{";
    busy.write_all(head).await.unwrap();
    // The server has the request when it answers another one on a later connection.
    assert_eq!(served.send(Method::GET, "/livez", "").await.0, 200);
    served.tasks.stop();
    assert_eq!(
        idle.read(&mut bytes).await.unwrap(),
        0,
        "an idle connection is closed"
    );
    busy.write_all(b"}").await.unwrap();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(served.tasks.join(Duration::from_secs(5)).await);
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn rubbish_is_answered_or_cut_and_harms_nobody() {
    let served = served(None).await;
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(1024 * 1024));
    for rubbish in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        long.as_bytes(),
    ] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        // The server may cut the connection while we write.
        let _written = stream.write_all(rubbish).await;
        let _shut = stream.shutdown().await;
        let mut answer = Vec::new();
        let _read = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
        assert_eq!(served.send(Method::GET, "/livez", "").await.0, 200);
    }
}
