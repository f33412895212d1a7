//! userfilefs
fn main() {}
