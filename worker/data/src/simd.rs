//! Lets the compiler make vectors as wide as the processor has: the only `unsafe` for it.
//!
//! A kernel is plain Rust over slices, compiled once for each level of instructions, and the processor's best is picked
//! when it runs. No level changes a result: Rust neither reorders floating-point
//! operations nor contracts a product and a sum, and a test of each kernel compares the levels bit by bit.

use std::sync::LazyLock;

/// Which instructions a kernel may use. Only [`Level::available`] makes one, of those that the processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// What every processor of the target has.
    Portable,
    /// x86-64 with AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86-64 with the parts of AVX-512 that 8- and 16-bit lanes need.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The best of this processor.
    pub(crate) fn best() -> Self {
        static BEST: LazyLock<Level> =
            LazyLock::new(|| *Level::available().last().expect("portable code always runs"));
        *BEST
    }

    /// All that this processor has, the best last.
    pub(crate) fn available() -> Vec<Self> {
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                levels.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vbmi")
            {
                levels.push(Self::Avx512);
            }
        }
        levels
    }
}

/// Defines a function that takes a [`Level`] before its arguments, and runs its body with that level's instructions.
///
/// The body is compiled once a level. What it calls in its loops must be `#[inline(always)]`.
macro_rules! kernel {
    ($(#[$doc:meta])* $visible:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        #[cfg_attr(
            target_arch = "x86_64",
            expect(unsafe_code, reason = "whoever calls such a function vouches for the processor")
        )]
        $visible fn $name(level: $crate::simd::Level, $($argument: $type),*) $(-> $out)? {
            #[inline(always)]
            fn body($($argument: $type),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($argument: $type),*) $(-> $out)? {
                body($($argument),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
            fn avx512($($argument: $type),*) $(-> $out)? {
                body($($argument),*)
            }

            match level {
                $crate::simd::Level::Portable => body($($argument),*),
                // SAFETY: a level stands for a processor that has its instructions.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Level::Avx2 => unsafe { avx2($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Level::Avx512 => unsafe { avx512($($argument),*) },
            }
        }
    };
}
pub(crate) use kernel;

/// A number without its fraction, cut to the levels of 8 bits. `as` would do the same, but not in vectors.
#[inline(always)]
#[expect(unsafe_code, reason = "the conversion that processors have checks nothing")]
pub(crate) fn to_level(value: f32) -> u8 {
    // Written so, each is one instruction, and no number is 0.
    let value = if value > 0.0 { value } else { 0.0 };
    let value = if value < 255.0 { value } else { 255.0 };
    // SAFETY: it lies between 0 and 255.
    let whole: i32 = unsafe { value.to_int_unchecked() };
    whole as u8
}
