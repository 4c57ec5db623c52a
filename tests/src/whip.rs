//! Clients of WHIP and WHEP over real sockets: HTTP/1.1, ICE, DTLS and SRTP by str0m.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rillway_core::id::{ParticipantId, TrackId};
use str0m::Event;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::rtp::RtpWrite;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use crate::payload::{self, Body};
use crate::peer::{Peer, default_config};

/// Time between two packets of a track.
const BEAT: Duration = Duration::from_millis(20);
/// Size of each, bytes.
const PACKET_BYTES: usize = 400;
/// Packets from one keyframe to the next.
const KEYFRAME_EVERY: u32 = 25;

/// What an HTTP request brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

impl Response {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Sends a request over a connection of its own. The body is announced by its length.
///
/// # Errors
/// The connection failed, or what came is no HTTP.
pub async fn http(
    gateway: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Response> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {gateway}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(gateway).await?;
    // One that was answered early may be closed for writing.
    let _ = stream.write_all((head + body).as_bytes()).await;
    let mut bytes = Vec::new();
    // A reset after the answer is an end too.
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    parse(&text).ok_or_else(|| io::Error::other(format!("no HTTP: {text:?}")))
}

fn parse(text: &str) -> Option<Response> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    Some(Response {
        status,
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
        body: body.to_owned(),
    })
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It publishes audio and video.
    Publisher,
    /// It plays both.
    Player,
}

/// A session of one of them.
pub struct Session {
    /// Its peer connection.
    pub peer: Peer,
    /// Where its session is.
    pub location: String,
    /// Names its ICE session.
    pub etag: String,
    /// Bodies received, by section, in the order of their arrival.
    pub received: BTreeMap<Mid, Vec<Body>>,
    /// Payloads received that nobody of this world sent.
    pub strange: u64,
    /// Marks what it sends.
    pub mark: u64,
    /// Sections, audio first.
    pub mids: [Mid; 2],
    /// Packets sent in each section.
    pub sent: [u32; 2],
    gateway: SocketAddr,
    role: Role,
    socket: UdpSocket,
    next: Instant,
    buffer: Vec<u8>,
}

/// An offer that is not answered yet.
pub struct Offered {
    /// To be posted.
    pub sdp: String,
    pending: SdpPendingOffer,
    peer: Peer,
    socket: UdpSocket,
    mids: [Mid; 2],
    role: Role,
}

impl Offered {
    /// A new peer connection's offer of audio and video.
    ///
    /// # Errors
    /// No socket can be had.
    pub fn new(role: Role) -> io::Result<Self> {
        let socket = bind()?;
        let mut peer = Peer::with_config(Instant::now(), socket.local_addr()?, default_config());
        let direction = match role {
            Role::Publisher => Direction::SendOnly,
            Role::Player => Direction::RecvOnly,
        };
        let mut api = peer.rtc.sdp_api();
        let mids = [MediaKind::Audio, MediaKind::Video]
            .map(|kind| api.add_media(kind, direction, None, None, None));
        let (offer, pending) = api
            .apply()
            .ok_or_else(|| io::Error::other("nothing is offered"))?;
        Ok(Offered {
            sdp: offer.to_sdp_string(),
            pending,
            peer,
            socket,
            mids,
            role,
        })
    }

    /// Takes the answer of a `201 Created`.
    ///
    /// # Errors
    /// It is none.
    pub fn accept(mut self, gateway: SocketAddr, created: &Response) -> io::Result<Session> {
        let broken = |what: &str| io::Error::other(format!("{what}: {created:?}"));
        let header = |name: &str| created.header(name).ok_or_else(|| broken(name));
        let answer = SdpAnswer::from_sdp_string(&created.body).map_err(io::Error::other)?;
        let api = self.peer.rtc.sdp_api();
        api.accept_answer(self.pending, answer)
            .map_err(io::Error::other)?;
        let now = Instant::now();
        self.peer.handle_timeout(now);
        Ok(Session {
            peer: self.peer,
            location: header("location")?.to_owned(),
            etag: header("etag")?.to_owned(),
            received: BTreeMap::new(),
            strange: 0,
            mark: 1,
            mids: self.mids,
            sent: [0; 2],
            gateway,
            role: self.role,
            socket: self.socket,
            next: now,
            buffer: vec![0; 2_048],
        })
    }
}

impl Session {
    /// Posts an offer and takes the answer.
    ///
    /// # Errors
    /// It was not answered with `201 Created`.
    pub async fn begin(gateway: SocketAddr, role: Role, path: &str) -> io::Result<Self> {
        Self::begin_with(gateway, role, path, &[]).await
    }

    /// The same with more headers.
    ///
    /// # Errors
    /// It was not answered with `201 Created`.
    pub async fn begin_with(
        gateway: SocketAddr,
        role: Role,
        path: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<Self> {
        let offered = Offered::new(role)?;
        let mut all = vec![("content-type", "application/sdp")];
        all.extend_from_slice(headers);
        let created = http(gateway, "POST", path, &all, &offered.sdp).await?;
        if created.status != 201 {
            return Err(io::Error::other(format!("{created:?}")));
        }
        offered.accept(gateway, &created)
    }

    /// Asks its session for something.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn ask(
        &self,
        method: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<Response> {
        http(self.gateway, method, &self.location, headers, body).await
    }

    /// Restarts ICE from a new socket; the old one is closed.
    ///
    /// # Errors
    /// It was not answered with `200 OK`.
    pub async fn restart(&mut self) -> io::Result<Response> {
        let socket = bind()?;
        let address = socket.local_addr()?;
        let old = str0m::Candidate::host(self.peer.local, "udp").map_err(io::Error::other)?;
        self.peer.rtc.direct_api().invalidate_candidate(&old);
        let new = str0m::Candidate::host(address, "udp").map_err(io::Error::other)?;
        self.peer.rtc.add_local_candidate(new);
        self.peer.local = address;
        self.socket = socket;
        let mut api = self.peer.rtc.sdp_api();
        api.ice_restart(true);
        let (offer, pending) = api.apply().ok_or_else(|| io::Error::other("no offer"))?;
        let offer = offer.to_sdp_string();
        let wanted = ["a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "m=", "a=mid:"];
        let fragment: String = offer
            .lines()
            .filter(|line| wanted.iter().any(|start| line.starts_with(start)))
            .map(|line| format!("{line}\r\n"))
            .collect();
        let headers = [
            ("content-type", "application/trickle-ice-sdpfrag"),
            ("if-match", "*"),
        ];
        let restarted = self.ask("PATCH", &headers, &fragment).await?;
        if restarted.status != 200 {
            return Err(io::Error::other(format!("{restarted:?}")));
        }
        self.etag = restarted.header("etag").unwrap_or_default().to_owned();
        // What the fragment says takes the place of what the description said (RFC 9725 §4.3.3); the rest
        // of the answer is that of the offer, turned round.
        let answer = answer_like(&offer, &restarted.body);
        let answer = SdpAnswer::from_sdp_string(&answer).map_err(io::Error::other)?;
        let api = self.peer.rtc.sdp_api();
        api.accept_answer(pending, answer)
            .map_err(io::Error::other)?;
        self.peer.handle_timeout(Instant::now());
        Ok(restarted)
    }

    /// Runs several until `done` holds or `limit` has passed; says whether it held.
    ///
    /// # Errors
    /// A socket failed.
    pub async fn run(
        sessions: &mut [&mut Session],
        limit: Duration,
        done: impl Fn(&[&mut Session]) -> bool,
    ) -> io::Result<bool> {
        let end = Instant::now() + limit;
        while !done(sessions) {
            if Instant::now() >= end {
                return Ok(false);
            }
            for session in sessions.iter_mut() {
                session.step()?;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(true)
    }

    /// Whether it has received so many packets in each section since it began.
    pub fn has_received(&self, packets: usize) -> bool {
        let count = |mid: &Mid| self.received.get(mid).map_or(0, Vec::len);
        self.mids.iter().all(|mid| count(mid) >= packets)
    }

    /// Sequence numbers of a publisher's mark that are missing between the first and the last received.
    pub fn missing(&self, mark: u64) -> usize {
        let holes = |bodies: &Vec<Body>| {
            let mut numbers: Vec<u32> = bodies
                .iter()
                .filter(|body| body.room == mark)
                .map(|body| body.sequence)
                .collect();
            numbers.sort_unstable();
            let steps = numbers.windows(2).map(|pair| (pair[1] - pair[0]) as usize);
            steps.map(|step| step.saturating_sub(1)).sum::<usize>()
        };
        self.received.values().map(holes).sum()
    }

    fn step(&mut self) -> io::Result<()> {
        let now = Instant::now();
        loop {
            match self.socket.try_recv_from(&mut self.buffer) {
                Ok((bytes, source)) => {
                    let contents = &self.buffer[..bytes];
                    self.peer.handle_datagram(now, source, contents);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error of an earlier send.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            }
        }
        if self.peer.timeout <= now {
            self.peer.handle_timeout(now);
        }
        if self.role == Role::Publisher && self.peer.rtc.is_connected() && self.next <= now {
            self.next = now + BEAT;
            self.send(now);
        }
        while let Some(event) = self.peer.poll_event() {
            if let Event::RtpPacket(packet) = event {
                self.take(packet.header.ssrc, &packet.payload);
            }
        }
        while let Some(datagram) = self.peer.poll_transmit() {
            // What a full buffer does not take is lost, as on any network.
            let _ = self
                .socket
                .try_send_to(&datagram.contents, datagram.destination);
        }
        Ok(())
    }

    fn send(&mut self, now: Instant) {
        for (index, mid) in self.mids.into_iter().enumerate() {
            let sequence = self.sent[index];
            let video = index == 1;
            let body = Body {
                room: self.mark,
                publisher: ParticipantId(0),
                track: TrackId(index as u64),
                sent_micros: 0,
                sequence,
                frame: sequence,
                index: 0,
                count: 1,
                layer: 0,
                keyframe: !video || sequence.is_multiple_of(KEYFRAME_EVERY),
            };
            let mut bytes = Vec::new();
            if video {
                payload::write_video(&mut bytes, &body, (320, 180), PACKET_BYTES);
            } else {
                payload::write_body(&mut bytes, &body, PACKET_BYTES);
            }
            let clock = if video { 1_800 } else { 960 };
            let section = self.peer.rtc.media(mid);
            let Some(pt) = section.and_then(|media| media.remote_pts().first().copied()) else {
                continue;
            };
            let mut api = self.peer.rtc.direct_api();
            if let Some(stream) = api.stream_tx_by_mid(mid, None) {
                let number = 1_000 + u64::from(sequence);
                let timestamp = sequence.wrapping_mul(clock);
                let write = RtpWrite::new(pt, number.into(), timestamp, now, bytes.as_slice());
                stream.write_rtp(write.marker(video).nackable(video));
                self.sent[index] += 1;
            }
            self.peer.handle_timeout(now);
        }
    }

    fn take(&mut self, ssrc: str0m::rtp::Ssrc, payload: &[u8]) {
        let Some(mid) = self.peer.mid_of(ssrc) else {
            self.strange += 1;
            return;
        };
        let body = if mid == self.mids[1] {
            payload::read_video(payload).map(|(_, body)| body)
        } else {
            payload::read_body(payload)
        };
        match body {
            Ok(body) => self.received.entry(mid).or_default().push(body),
            Err(_) => self.strange += 1,
        }
    }
}

/// The offer as its own answer, with what a fragment says of the other side.
fn answer_like(offer: &str, fragment: &str) -> String {
    let said = |name: &str| {
        let lines = fragment.lines().filter(|line| line.starts_with(name));
        lines.map(|line| format!("{line}\r\n")).collect::<String>()
    };
    let (ufrag, password) = (said("a=ice-ufrag:"), said("a=ice-pwd:"));
    let candidates = said("a=candidate:");
    let mut out = String::new();
    for line in offer.lines() {
        match line {
            "a=sendonly" => out += "a=recvonly\r\n",
            "a=recvonly" => out += "a=sendonly\r\n",
            "a=setup:actpass" => out += "a=setup:passive\r\n",
            _ if line.starts_with("a=ice-ufrag:") => out += &(ufrag.clone() + &candidates),
            _ if line.starts_with("a=ice-pwd:") => out += &password,
            _ if line.starts_with("a=candidate:") || line.starts_with("a=ssrc") => {}
            _ => out += &format!("{line}\r\n"),
        }
    }
    out
}

fn bind() -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}
