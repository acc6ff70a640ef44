//! Link settings of the addon.

fn main() {
    napi_build::setup();
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // Threads of ours may outlive the `worker_thread` that loaded the addon: its code must stay mapped.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
        // The LAPACK inside calls its own helpers, whatever other BLAS the process has loaded.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    }
}
