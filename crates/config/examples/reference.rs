//! Prints the reference manual: `cargo run -p config --example reference > docs/reference.md`.

fn main() {
    print!("{}", config::reference());
}
