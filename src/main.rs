//! Arguments → settings → logs → agent → exit code. The rest is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    understudy::cli::main()
}
