//! Conversions between the generated bindings and the SDK's types, one to one.

mod authentication;
mod layers;
mod recording;
mod signaling;
mod types;

/// Each of them.
pub(super) fn list<T: Into<U>, U>(values: Vec<T>) -> Vec<U> {
    values.into_iter().map(Into::into).collect()
}

/// `From` in both directions between two enums without data that have the same cases.
macro_rules! same_cases {
    ($wit:ty, $sdk:ty: $($case:ident),+) => {
        impl From<$wit> for $sdk {
            fn from(value: $wit) -> Self {
                match value {
                    $(<$wit>::$case => <$sdk>::$case,)+
                }
            }
        }

        impl From<$sdk> for $wit {
            fn from(value: $sdk) -> Self {
                match value {
                    $(<$sdk>::$case => <$wit>::$case,)+
                }
            }
        }
    };
}
use same_cases;
