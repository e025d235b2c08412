//! Parses arguments, runs, turns the result into an exit code; nothing else.

fn main() -> std::process::ExitCode {
    mastic::cli::main()
}
