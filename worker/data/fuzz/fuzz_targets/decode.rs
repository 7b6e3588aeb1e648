//! Any bytes through the decoder: they are a picture or an error, in bounded memory.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(image) = m2t_data::decode(bytes) {
        assert_eq!(
            image.pixels.len(),
            3 * image.width as usize * image.height as usize
        );
    }
});
