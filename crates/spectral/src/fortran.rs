//! What LAPACK asks of a Fortran runtime, so that none is linked.
//!
//! The static LAPACK of `.cargo/config.toml` was compiled by gfortran. Of everything that the library could call in
//! gfortran's runtime, the routines of linear algebra need one function, the concatenation of strings; the error handler
//! `XERBLA` needs Fortran's input and output, and ends the process. Both are defined here instead.

use std::ffi::{c_char, c_int};

/// Fortran's `XERBLA`, called by a routine that was given a wrong argument.
///
/// The reference version prints a message and stops the process. This one returns: the routine then returns too, with its
/// `INFO` set to minus the number of the argument, which `ndarray-linalg` turns into an error.
#[unsafe(no_mangle)]
extern "C" fn xerbla_(_routine: *const c_char, _info: *const c_int, _routine_len: usize) {}

/// gfortran's `destination = a // b`: cut to the destination's length, or filled up with blanks.
///
/// # Safety
/// Each pointer must be good for its length in bytes; neither source may overlap the destination.
#[unsafe(no_mangle)]
unsafe extern "C" fn _gfortran_concat_string(
    destination_len: usize,
    destination: *mut u8,
    a_len: usize,
    a: *const u8,
    b_len: usize,
    b: *const u8,
) {
    let from_a = a_len.min(destination_len);
    let from_b = b_len.min(destination_len - from_a);
    let blanks = destination_len - from_a - from_b;
    // SAFETY: the three ranges lie one after another within the destination, and each source is read within its length.
    unsafe {
        destination.copy_from_nonoverlapping(a, from_a);
        destination.add(from_a).copy_from_nonoverlapping(b, from_b);
        destination.add(from_a + from_b).write_bytes(b' ', blanks);
    }
}

#[cfg(test)]
mod tests {
    use super::_gfortran_concat_string;
    use ndarray::array;
    use ndarray_linalg::{Eigh, Factorize, SVD, UPLO, cholesky::Cholesky};
    use std::ffi::{c_char, c_int};

    fn concat(len: usize, a: &str, b: &str) -> String {
        let mut out = vec![0; len];
        // SAFETY: every length is that of its slice.
        unsafe {
            _gfortran_concat_string(len, out.as_mut_ptr(), a.len(), a.as_ptr(), b.len(), b.as_ptr());
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn concatenation_cuts_and_fills_as_fortran_does() {
        assert_eq!(concat(2, "L", "T"), "LT");
        assert_eq!(concat(4, "L", "T"), "LT  ");
        assert_eq!(concat(3, "ab", "cd"), "abc");
        assert_eq!(concat(1, "ab", "cd"), "a");
        assert_eq!(concat(0, "ab", ""), "");
    }

    unsafe extern "C" {
        fn dpotrf_(uplo: *const c_char, n: *const c_int, a: *mut f64, lda: *const c_int, info: *mut c_int);
    }

    #[test]
    fn a_wrong_argument_is_an_answer_and_not_the_end_of_the_process() {
        let (mut a, n, lda, mut info) = ([1.0], -3, 1, 0);
        // SAFETY: the order is negative, so the routine reads and writes `info` alone.
        unsafe { dpotrf_(c"U".as_ptr(), &n, a.as_mut_ptr(), &lda, &mut info) };
        assert_eq!(info, -2);
    }

    #[test]
    fn factorizations_answer() {
        let a = array![[2.0_f64, 1.0], [1.0, 2.0]];
        let (values, _) = a.eigh(UPLO::Lower).unwrap();
        assert!((values[0] - 1.0).abs() < 1e-15 && (values[1] - 3.0).abs() < 1e-15);
        let (_, singular, _) = a.svd(false, false).unwrap();
        assert!((singular[0] - 3.0).abs() < 1e-15);
        assert!(a.cholesky(UPLO::Lower).is_ok());
        assert!(array![[1.0, 2.0], [2.0, 1.0]].cholesky(UPLO::Lower).is_err());
        let _ = a.factorize().unwrap();
    }
}
