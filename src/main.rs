//! The `userfilefs` program. Everything is in the library; see [`userfilefs::cli`].

fn main() -> std::process::ExitCode {
    userfilefs::cli::main(std::env::args_os().collect()).into()
}
