//! The program `barrier-bench`; everything is in the library.

fn main() {
    barrier_bench::main();
}
