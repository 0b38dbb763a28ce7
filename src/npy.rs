//! NumPy's file format, version 1.0
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).

/// Everything before the numbers of an array of little-endian f32, rows × columns, row-major.
pub fn header(rows: usize, columns: usize) -> Vec<u8> {
    /// The numbers start at a multiple of this.
    const ALIGNMENT: usize = 64;
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    let mut description =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let before = header.len() + size_of::<u16>();
    // The last byte is a line break.
    let end = (before + description.len() + 1).next_multiple_of(ALIGNMENT);
    description += &" ".repeat(end - before - description.len() - 1);
    description.push('\n');
    let length = u16::try_from(description.len()).expect("two numbers have few digits");
    header.extend(length.to_le_bytes());
    header.extend(description.into_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_numpy() {
        // What numpy.save wrote for zeros((3, 384), '<f4').
        let expected = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, \
            'shape': (3, 384), }                                                         \n";
        let header = header(3, 384);
        assert_eq!(header.len(), 128);
        assert_eq!(header[..12], expected[..12]);
        let text = |header: &[u8]| String::from_utf8_lossy(header).trim_end().to_owned();
        assert_eq!(text(&header[10..]), text(&expected[10..]));
        assert_eq!(header.last(), Some(&b'\n'));
        assert!(super::header(usize::MAX, usize::MAX).len().is_multiple_of(64));
    }
}
