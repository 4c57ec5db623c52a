//! By which kind of way a client's packets come: what an operator asks when somebody complains.

use std::fmt;
use std::net::SocketAddr;

/// A kind of way between client and router, the one that costs least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathKind {
    /// UDP to a media port, or from a relay of somebody else's, which cannot be told from it.
    Udp,
    /// UDP to this router's relay (TURN, RFC 8656).
    TurnUdp,
    /// TCP to a media port (RFC 6544).
    Tcp,
    /// TCP to this router's relay.
    TurnTcp,
    /// TLS to this router's relay.
    TurnTls,
}

impl PathKind {
    /// All of them, in order of declaration.
    pub const ALL: [PathKind; 5] = [
        PathKind::Udp,
        PathKind::TurnUdp,
        PathKind::Tcp,
        PathKind::TurnTcp,
        PathKind::TurnTls,
    ];

    /// As in metrics and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            PathKind::Udp => "udp",
            PathKind::TurnUdp => "turn-udp",
            PathKind::Tcp => "tcp",
            PathKind::TurnTcp => "turn-tcp",
            PathKind::TurnTls => "turn-tls",
        }
    }
}

impl fmt::Display for PathKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of this router's own relay.
pub trait Relays: fmt::Debug + Send + Sync {
    /// How the client reaches the relay that sends from this address; `None`: no relay of ours does.
    fn kind(&self, source: SocketAddr) -> Option<PathKind>;

    /// Whether clients are told of a relay that they reach in this way.
    fn offers(&self, kind: PathKind) -> bool;
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PathKinds(u8);

impl PathKinds {
    pub(crate) fn insert(&mut self, kind: PathKind) {
        self.0 |= 1 << kind as u8;
    }

    pub(crate) fn contains(self, kind: PathKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for PathKinds {
    /// "udp and tcp", "udp, turn-udp and tcp".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.count_ones();
        for kind in PathKind::ALL.into_iter().filter(|k| self.contains(*k)) {
            left -= 1;
            let after = match left {
                0 => "",
                1 => " and ",
                _ => ", ",
            };
            write!(f, "{kind}{after}")?;
        }
        Ok(())
    }
}

/// Why a client does not use a way that costs less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reason {
    /// Offered, and no check came.
    silent: PathKinds,
    /// Checks came, and the client chose another.
    passed_over: PathKinds,
}

impl Reason {
    /// Of a client that uses `used`, was offered `offered`, and whose checks came by `heard`. `None`: it has the best
    /// that there is.
    pub(crate) fn find(used: PathKind, offered: PathKinds, heard: PathKinds) -> Option<Reason> {
        let mut reason = Reason {
            silent: PathKinds::default(),
            passed_over: PathKinds::default(),
        };
        for kind in PathKind::ALL.into_iter().filter(|k| *k < used) {
            match (heard.contains(kind), offered.contains(kind)) {
                (true, _) => reason.passed_over.insert(kind),
                (false, true) => reason.silent.insert(kind),
                (false, false) => {}
            }
        }
        let none = reason.silent.is_empty() && reason.passed_over.is_empty();
        (!none).then_some(reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.silent.is_empty() {
            write!(f, "no check came by {}", self.silent)?;
        }
        if !self.passed_over.is_empty() {
            let join = if self.silent.is_empty() { "" } else { "; " };
            write!(
                f,
                "{join}checks came by {}, and the client chose this way",
                self.passed_over
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(kinds: &[PathKind]) -> PathKinds {
        let mut set = PathKinds::default();
        kinds.iter().for_each(|kind| set.insert(*kind));
        set
    }

    #[test]
    fn a_reason_names_what_would_cost_less() {
        use PathKind::{Tcp, TurnTcp, TurnTls, TurnUdp, Udp};
        let offered = set(&[Udp, TurnUdp, Tcp]);
        let why = |used, heard| {
            Reason::find(used, offered, set(heard)).map_or(String::new(), |r| r.to_string())
        };
        assert_eq!(why(Udp, &[Udp, Tcp]), "");
        assert_eq!(why(TurnUdp, &[TurnUdp]), "no check came by udp");
        assert_eq!(
            why(TurnTls, &[TurnTls]),
            "no check came by udp, turn-udp and tcp"
        );
        assert_eq!(
            why(TurnTcp, &[TurnTcp, Tcp]),
            "no check came by udp and turn-udp; checks came by tcp, and the client chose this way"
        );
        assert_eq!(
            why(Tcp, &[Udp, Tcp, TurnUdp]),
            "checks came by udp and turn-udp, and the client chose this way"
        );
    }
}
