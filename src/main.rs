//! The program: see `cli` for its commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    proxmox_mcp::cli::main(std::env::args_os())
}
