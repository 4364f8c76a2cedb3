//! What calls to the API server have in common, whoever makes them.

use kube::api::{DeleteParams, Preconditions};
use kube::core::Status;

/// How many objects are listed at once. What a page takes, before most of it is dropped, is never given back in full.
pub const LIST_PAGE: u32 = 100;

/// To delete the object with this uid, and no other that has its name by now; what it owns goes after it.
#[must_use]
pub fn only_of(uid: &str) -> DeleteParams {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    DeleteParams::background().preconditions(preconditions)
}

/// Whether the answer to a deletion [`only_of`] an object says that it is gone: 404, or 409 where another object has
/// its name by now, which the precondition on the uid saved. Another 409 is a race with some other write: it is still
/// there.
#[must_use]
pub fn is_absent(status: &Status) -> bool {
    status.code == 404 || status.code == 409 && status.message.contains("UID in precondition")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_is_an_absence_only_where_another_object_has_the_name() {
        let status = |code, message: &str| Status::failure(message, "").with_code(code);
        assert!(is_absent(&status(404, "not found")));
        assert!(is_absent(&status(409, "Precondition failed: UID in precondition: a, UID in object meta: b")));
        assert!(!is_absent(&status(
            409,
            "the object has been modified; please apply your changes to the latest version"
        )));
        assert!(!is_absent(&status(403, "UID in precondition")));
    }
}
