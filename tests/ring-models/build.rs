//! Sets `cfg(loom)` for this crate alone.

fn main() {
    println!("cargo::rustc-cfg=loom");
}
