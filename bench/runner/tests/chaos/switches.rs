//! A target that is slow to change its switches.

use std::net::TcpListener;

/// A target whose switches take their time, and what it was told.
pub(crate) fn slow_switches(
    delay: std::time::Duration,
) -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use std::io::{Read as _, Write as _};
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let told = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
    let kept = std::sync::Arc::clone(&told);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, kept) = (stream.expect("a connection"), kept.clone());
            std::thread::spawn(move || {
                let (mut text, mut buffer) = (String::new(), [0; 4096]);
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    text.push_str(&String::from_utf8_lossy(&buffer[..count]));
                    if let Some((_, body)) = text.split_once("\r\n\r\n")
                        && body.ends_with('}')
                    {
                        let injects = body.contains("true");
                        kept.lock().expect("kept").push(body.to_owned());
                        if injects {
                            std::thread::sleep(delay);
                        }
                        let _ = stream.write_all(
                            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                        );
                        return;
                    }
                }
            });
        }
    });
    (address, told)
}
