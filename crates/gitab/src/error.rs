//! What a failed assertion says: Go's `TypeAssertionError` (Go 1.19's `runtime/error.go`).

use core::fmt;

/// Why an assertion failed, worded as Go words it.
///
/// ```
/// use gitab::Eface;
///
/// let x = 5u32;
/// let e = Eface::new(&x).try_downcast::<String>().unwrap_err();
/// assert_eq!(
///     e.to_string(),
///     "interface conversion: interface is u32, not alloc::string::String"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeAssertionError {
    /// The interface that held the value; None for the empty one.
    interface: Option<&'static str>,
    /// The type of the value; None for no value.
    concrete: Option<&'static str>,
    asserted: &'static str,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    OtherType,
    MissingMethod(&'static str, bool),
    NotRegistered,
}

impl TypeAssertionError {
    pub(crate) fn other_type(
        interface: Option<&'static str>,
        concrete: Option<&'static str>,
        asserted: &'static str,
    ) -> Self {
        Self {
            interface,
            concrete,
            asserted,
            why: Why::OtherType,
        }
    }

    pub(crate) fn missing_method(
        concrete: &'static str,
        asserted: &'static str,
        method: &'static str,
        other_signature: bool,
    ) -> Self {
        Self {
            interface: None,
            concrete: Some(concrete),
            asserted,
            why: Why::MissingMethod(method, other_signature),
        }
    }

    pub(crate) fn not_registered(concrete: Option<&'static str>, asserted: &'static str) -> Self {
        Self {
            interface: None,
            concrete: concrete.or(Some("a value of unknown type")),
            asserted,
            why: Why::NotRegistered,
        }
    }

    /// The type that the value has, if there is a value.
    #[must_use]
    pub fn concrete(&self) -> Option<&'static str> {
        self.concrete
    }

    /// The type or interface that was asked for.
    #[must_use]
    pub fn asserted(&self) -> &'static str {
        self.asserted
    }

    /// The first method, by name, that the type lacks.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        match self.why {
            Why::MissingMethod(name, _) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for TypeAssertionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asserted = self.asserted;
        f.write_str("interface conversion: ")?;
        let interface = self.interface.unwrap_or("interface");
        let Some(concrete) = self.concrete else {
            return write!(f, "{interface} is nil, not {asserted}");
        };
        match self.why {
            Why::OtherType => {
                write!(f, "{interface} is {concrete}, not {asserted}")?;
                if concrete == asserted {
                    // Two versions of one crate, for instance.
                    f.write_str(" (types from different crates or scopes)")?;
                }
                Ok(())
            }
            Why::MissingMethod(method, other_signature) => {
                write!(f, "{concrete} is not {asserted}: missing method {method}")?;
                if other_signature {
                    f.write_str(" (there is one with another signature)")?;
                }
                Ok(())
            }
            Why::NotRegistered => {
                write!(
                    f,
                    "{concrete} is not {asserted}: not registered by implements!"
                )
            }
        }
    }
}

impl core::error::Error for TypeAssertionError {}
