//! Compiles `proto/` with protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["common", "shard", "router", "admin"]
        .map(|file| format!("proto/vectorsphere/v1/{file}.proto"));
    for file in &files {
        println!("cargo::rerun-if-changed={file}");
    }
    tonic_prost_build::configure()
        .bytes(".")
        .compile_protos(&files, &["proto".to_owned()])?;
    Ok(())
}
