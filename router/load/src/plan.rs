//! What a run does: who is in which room, what is sent, how fast clients join, for how long it is measured.

use std::net::IpAddr;
use std::time::Duration;

use crate::media::Media;
use crate::server::Server;

/// Clients of one run at most.
const CLIENTS_MAX: u32 = 100_000;

/// How clients speak to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Rillway's, over WebSocket: everybody may publish and play.
    Rooms,
    /// Publishers by WHIP, players by WHEP.
    Whip,
}

/// Who sends to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One room: some publish, the others play.
    Broadcast {
        /// Who publish.
        publishers: u32,
        /// Who play.
        players: u32,
    },
    /// One room, in which everybody publishes and plays everybody else.
    Meeting {
        /// Participants.
        size: u32,
    },
    /// Many rooms. By WHIP one in each publishes, and the others play; else each is a meeting.
    Rooms {
        /// How many.
        rooms: u32,
        /// Participants of each.
        size: u32,
    },
}

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where.
    pub server: Server,
    /// In which words.
    pub protocol: Protocol,
    /// Who.
    pub shape: Shape,
    /// Name of the room, or what the names of several begin with.
    pub room: String,
    /// Path of the WHIP endpoint, with `{room}` for the room's name.
    pub whip_path: String,
    /// Path of the WHEP endpoint, likewise.
    pub whep_path: String,
    /// Shown when clients join, one after the other, from the beginning again after the last.
    pub tokens: Vec<String>,
    /// What publishers send.
    pub media: Media,
    /// Clients that begin to join in a second.
    pub joins_per_second: f64,
    /// From the last join to what is measured.
    pub warmup: Duration,
    /// What is measured.
    pub duration: Duration,
    /// Threads for media.
    pub threads: usize,
    /// Address for media; else the one the server is reached from.
    pub bind: Option<IpAddr>,
    /// Datagrams are read as the kernel joined them (UDP GRO). Without, each is read by itself: what networks bring that
    /// do not join any.
    pub joined_datagrams: bool,
    /// Processes that are watched.
    pub watch: Vec<u32>,
    /// Ctrl-C ends it, with what was measured until then.
    pub interruptible: bool,
}

/// Why a plan is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A player of WHEP gets one publisher.
    #[error(
        "a WHEP player gets one publisher of its room, so not everybody can see everybody: take `--shape broadcast` \
         with one publisher, `--shape rooms`, or `--protocol rooms`"
    )]
    OnePublisher,
    /// Nobody would receive anything.
    #[error("nobody would receive anything: {0}")]
    Nobody(&'static str),
    /// More than a process can be.
    #[error("{0} clients are too many for one process: at most {CLIENTS_MAX}")]
    TooMany(u64),
    /// Nothing would be sent.
    #[error("without audio and video nothing would be sent")]
    NoMedia,
}

/// A client of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// Number of its room.
    pub(crate) room: u32,
    /// Its number among those who publish.
    pub(crate) publisher: Option<u32>,
    pub(crate) plays: bool,
}

impl Plan {
    /// Whether it can be carried out.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn check(&self) -> Result<(), PlanError> {
        if self.media.list().is_empty() {
            return Err(PlanError::NoMedia);
        }
        let clients = match self.shape {
            Shape::Broadcast {
                publishers,
                players,
            } => {
                if publishers == 0 || players == 0 {
                    return Err(PlanError::Nobody("a broadcast has a publisher and players"));
                }
                if publishers > 1 && self.protocol == Protocol::Whip {
                    return Err(PlanError::OnePublisher);
                }
                u64::from(publishers) + u64::from(players)
            }
            Shape::Meeting { size } => {
                if self.protocol == Protocol::Whip {
                    return Err(PlanError::OnePublisher);
                }
                if size < 2 {
                    return Err(PlanError::Nobody("a meeting has two participants or more"));
                }
                size.into()
            }
            Shape::Rooms { rooms, size } => {
                if rooms == 0 || size < 2 {
                    return Err(PlanError::Nobody("each room has two participants or more"));
                }
                u64::from(rooms) * u64::from(size)
            }
        };
        if clients > CLIENTS_MAX.into() {
            return Err(PlanError::TooMany(clients));
        }
        Ok(())
    }

    /// The clients, in the order in which they join.
    pub(crate) fn members(&self) -> Vec<Member> {
        let mut publishers = 0..;
        let mut member = |room, publishes, plays| Member {
            room,
            publisher: if publishes { publishers.next() } else { None },
            plays,
        };
        match self.shape {
            Shape::Broadcast {
                publishers,
                players,
            } => {
                let first = (0..publishers).map(|_| (true, false));
                let all = first.chain((0..players).map(|_| (false, true)));
                all.map(|(publishes, plays)| member(0, publishes, plays))
                    .collect()
            }
            Shape::Meeting { size } => (0..size).map(|_| member(0, true, true)).collect(),
            Shape::Rooms { rooms, size } => {
                let all = (0..rooms).flat_map(|room| (0..size).map(move |n| (room, n == 0)));
                all.map(|(room, first)| match self.protocol {
                    Protocol::Rooms => member(room, true, true),
                    Protocol::Whip => member(room, first, !first),
                })
                .collect()
            }
        }
    }

    /// Clients that are to have joined before any other begins.
    pub(crate) fn first_members(&self) -> usize {
        match self.shape {
            Shape::Broadcast { publishers, .. } => publishers as usize,
            _ => 0,
        }
    }

    /// Name of a room.
    pub(crate) fn room_name(&self, room: u32) -> String {
        match self.shape {
            Shape::Rooms { .. } => format!("{}-{room}", self.room),
            _ => self.room.clone(),
        }
    }

    /// The token of a client.
    pub(crate) fn token(&self, client: u32) -> Option<&str> {
        let at = (client as usize).checked_rem(self.tokens.len())?;
        self.tokens.get(at).map(String::as_str)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn plan(protocol: Protocol, shape: Shape) -> Plan {
        Plan {
            server: "http://127.0.0.1:8080".parse().expect("a URL"),
            protocol,
            shape,
            room: "load".to_owned(),
            whip_path: "/whip/{room}".to_owned(),
            whep_path: "/whep/{room}".to_owned(),
            tokens: Vec::new(),
            media: Media {
                audio: true,
                video: None,
            },
            joins_per_second: 10.0,
            warmup: Duration::ZERO,
            duration: Duration::from_secs(1),
            threads: 1,
            bind: None,
            joined_datagrams: true,
            watch: Vec::new(),
            interruptible: false,
        }
    }

    /// Rooms, publishers and players.
    fn counts(protocol: Protocol, shape: Shape) -> (usize, usize, usize) {
        let plan = plan(protocol, shape);
        assert_eq!(plan.check(), Ok(()));
        let members = plan.members();
        let mut rooms: Vec<_> = members.iter().map(|m| m.room).collect();
        rooms.dedup();
        let publishers: Vec<u32> = members.iter().filter_map(|m| m.publisher).collect();
        assert_eq!(publishers, (0..publishers.len() as u32).collect::<Vec<_>>());
        let players = members.iter().filter(|m| m.plays).count();
        (rooms.len(), publishers.len(), players)
    }

    #[test]
    fn shapes_have_their_members() {
        let broadcast = Shape::Broadcast {
            publishers: 1,
            players: 5,
        };
        let rooms = Shape::Rooms { rooms: 3, size: 4 };
        for (protocol, shape, expected) in [
            (Protocol::Rooms, broadcast, (1, 1, 5)),
            (Protocol::Whip, broadcast, (1, 1, 5)),
            (Protocol::Rooms, Shape::Meeting { size: 4 }, (1, 4, 4)),
            (Protocol::Rooms, rooms, (3, 12, 12)),
            (Protocol::Whip, rooms, (3, 3, 9)),
        ] {
            assert_eq!(counts(protocol, shape), expected, "{protocol:?} {shape:?}");
        }
    }

    #[test]
    fn publishers_of_a_broadcast_join_first() {
        let shape = Shape::Broadcast {
            publishers: 2,
            players: 3,
        };
        let plan = plan(Protocol::Rooms, shape);
        let members = plan.members();
        let (first, rest) = members.split_at(plan.first_members());
        assert!(first.iter().all(|m| m.publisher.is_some() && !m.plays));
        assert!(rest.iter().all(|m| m.publisher.is_none() && m.plays));
    }

    #[test]
    fn plans_in_which_nothing_would_arrive_are_refused() {
        let whip = |shape| plan(Protocol::Whip, shape).check();
        let two = Shape::Broadcast {
            publishers: 2,
            players: 1,
        };
        assert_eq!(whip(two), Err(PlanError::OnePublisher));
        assert_eq!(
            whip(Shape::Meeting { size: 2 }),
            Err(PlanError::OnePublisher)
        );
        let rooms = |shape| plan(Protocol::Rooms, shape).check();
        assert!(matches!(
            rooms(Shape::Meeting { size: 1 }),
            Err(PlanError::Nobody(_))
        ));
        let many = Shape::Rooms {
            rooms: 1_000,
            size: 101,
        };
        assert_eq!(rooms(many), Err(PlanError::TooMany(101_000)));
        let mut silent = plan(Protocol::Rooms, Shape::Meeting { size: 2 });
        silent.media.audio = false;
        assert_eq!(silent.check(), Err(PlanError::NoMedia));
    }

    #[test]
    fn rooms_and_tokens_are_given_by_number() {
        let mut plan = plan(Protocol::Rooms, Shape::Rooms { rooms: 2, size: 2 });
        assert_eq!(
            (plan.room_name(1), plan.token(0)),
            ("load-1".to_owned(), None)
        );
        plan.tokens = ["a", "b"].map(str::to_owned).to_vec();
        assert_eq!((plan.token(0), plan.token(3)), (Some("a"), Some("b")));
        plan.shape = Shape::Meeting { size: 2 };
        assert_eq!(plan.room_name(0), "load");
    }
}
