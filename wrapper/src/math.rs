//! C's mathematical functions that compiled models may call and Rust's `compiler_builtins` does not bring. The linker drops
//! those that a model does not call.

macro_rules! functions {
    ($($name:ident($($argument:ident),*) -> $type:ty;)*) => {
        $(
            #[no_mangle]
            extern "C" fn $name($($argument: $type),*) -> $type {
                libm::$name($($argument),*)
            }
        )*
    };
}

functions! {
    acosh(x) -> f64;
    acoshf(x) -> f32;
    asinh(x) -> f64;
    asinhf(x) -> f32;
    atanh(x) -> f64;
    atanhf(x) -> f32;
    erf(x) -> f64;
    erff(x) -> f32;
    erfc(x) -> f64;
    erfcf(x) -> f32;
    exp10(x) -> f64;
    exp10f(x) -> f32;
    lgamma(x) -> f64;
    lgammaf(x) -> f32;
    nextafter(x, y) -> f64;
    nextafterf(x, y) -> f32;
    remainder(x, y) -> f64;
    remainderf(x, y) -> f32;
    tgamma(x) -> f64;
    tgammaf(x) -> f32;
}
