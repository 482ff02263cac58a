//! The `branchline` binary: see `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    branchline::cli::main()
}
