//! Makes the gRPC services of the protocol files, without a `protoc`.

use std::error::Error;
use std::path::Path;

use prost::Message as _;

const FILES: [&str; 2] = ["proto/account.proto", "proto/statistic.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(FILES, ["proto"])?;
    // For those who ask the handler itself what it takes.
    let folder = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&folder).join("events.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(false)
        .compile_fds(files)?;
    Ok(())
}
