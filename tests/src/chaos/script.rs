//! What people do.

use std::time::Duration;

use rillway_core::api::{Action, Direction, Wish};

use super::{Actor, Chaos, Weather, name, networks};
use crate::media::TrackSpec;
use crate::world::Who;

const SIZES: [(u16, u16); 4] = [(0, 0), (320, 180), (640, 360), (1_280, 720)];

impl Chaos {
    /// Notes what is done, for whoever has to find out what went wrong.
    fn note(&mut self, what: &str, who: Who, more: &dyn std::fmt::Debug) {
        let at = self.world.now - self.world.epoch;
        if self.history.len() == super::HISTORY {
            self.history.pop_front();
        }
        self.history
            .push_back(format!("{at:?} {who:?}: {what} {more:?}"));
    }

    /// Somebody does something.
    pub(super) fn act(&mut self) {
        let Some(index) = self.dice.choice(0..self.actors.len()) else {
            let room = self.dice.usize(0..self.settings.rooms);
            return self.join(room);
        };
        let what = match self.dice.u8(0..100) {
            0..25 => self.wish(index),
            25..34 => self.come(index),
            34..37 => self.go(index),
            37..39 => self.vanish(index),
            39..54 => self.change_network(index),
            54..59 => self.cut(index),
            59..63 => self.rebind(index),
            63..70 => self.mute(index),
            70..76 => self.give_up_or_take(index),
            76..80 => self.restart_ice(index),
            80..88 => self.pause_layer(index),
            88..91 => self.publish_more(index),
            91..95 => self.speak(index),
            95..97 => self.pry(index),
            97..100 => self.pretend(index),
            _ => "nothing",
        };
        *self.outcome.actions.entry(what).or_default() += 1;
    }

    fn who(&self, index: usize) -> Who {
        self.actors[index].who
    }

    /// Somebody comes with what people have.
    pub(super) fn join(&mut self, room: usize) {
        let tracks = match self.dice.u8(0..6) {
            0 => vec![],
            1 => vec![TrackSpec::audio()],
            2 => vec![TrackSpec::audio(), TrackSpec::video(2)],
            _ => vec![TrackSpec::audio(), TrackSpec::simulcast()],
        };
        let network = match self.settings.weather {
            Weather::Calm => networks::calm(self.dice.u64(..)),
            Weather::Rainy => networks::rainy(&mut self.dice),
            Weather::Stormy => networks::some(&mut self.dice),
        };
        self.world.set_default_link(network);
        let shard = self.dice.usize(0..self.settings.workers);
        let who = self.world.add_client_at(shard, &name(room), |config| {
            config.tracks = tracks;
            config.decodes = true;
        });
        self.world.with(who, |c, _| c.join());
        self.note("come", who, &(room, shard, network));
        self.everybody.push(who);
        self.actors.push(Actor {
            who,
            room,
            muted: Default::default(),
            given_up: Default::default(),
        });
    }

    fn come(&mut self, index: usize) -> &'static str {
        let room = self.actors[index].room;
        let there = self.actors.iter().filter(|a| a.room == room).count();
        if there >= self.settings.crowd {
            return "nothing";
        }
        self.join(room);
        "come"
    }

    fn go(&mut self, index: usize) -> &'static str {
        // Who is not in yet waits for it, as an application would.
        if self.world.client(self.who(index)).me.is_none() {
            return "nothing";
        }
        let actor = self.actors.swap_remove(index);
        self.world.with(actor.who, |c, _| c.leave());
        self.note("go", actor.who, &());
        "go"
    }

    /// Its machine loses power; the control side finds out at once, or after a while.
    fn vanish(&mut self, index: usize) -> &'static str {
        if self.settings.weather != Weather::Stormy {
            return "nothing";
        }
        let actor = self.actors.swap_remove(index);
        self.world.disconnect_signaling(actor.who);
        let (up, down) = self.world.links(actor.who);
        (up.cut, down.cut) = (true, true);
        // What it asked for before comes first.
        let most = if self.dice.bool() { 400 } else { 3 };
        let wait = Duration::from_millis(self.dice.u64(2..=most));
        self.world.run_for(wait);
        self.tell_gone(actor.who);
        self.note("vanish", actor.who, &());
        "vanish"
    }

    fn wish(&mut self, index: usize) -> &'static str {
        let who = self.who(index);
        let tracks: Vec<_> = self.world.client(who).tracks.keys().copied().collect();
        let tracks: Vec<_> = tracks
            .into_iter()
            .filter(|track| !self.actors[index].given_up.contains(track))
            .collect();
        let Some(track) = self.dice.choice(&tracks).copied() else {
            return "nothing";
        };
        let (width, height) = SIZES[self.dice.usize(0..SIZES.len())];
        let wish = Wish {
            track,
            width,
            height,
            fps: 0,
            priority: self.dice.u8(0..3),
            paused: self.dice.u8(0..8) == 0,
        };
        self.world.with(who, |c, _| c.request(Action::Wish(wish)));
        self.note("wish", who, &wish);
        "wish"
    }

    fn change_network(&mut self, index: usize) -> &'static str {
        if self.settings.weather != Weather::Stormy {
            return "nothing";
        }
        let who = self.who(index);
        let network = networks::some(&mut self.dice);
        let down = self.dice.u8(0..3) > 0;
        let links = self.world.links(who);
        match down {
            true => links.1.set_config(network),
            false => links.0.set_config(network),
        }
        self.note("network", who, &(down, network));
        "network"
    }

    fn cut(&mut self, index: usize) -> &'static str {
        if self.settings.weather != Weather::Stormy {
            return "nothing";
        }
        let who = self.who(index);
        let until = self.world.now + Duration::from_millis(self.dice.u64(50..3_000));
        let both = self.dice.u8(0..3);
        let (up, down) = self.world.links(who);
        up.cut |= both != 1;
        down.cut |= both != 2;
        self.cuts.push((until, who));
        self.note("cut", who, &(both, until - self.world.now));
        "cut"
    }

    /// Its NAT gives it another outside address.
    fn rebind(&mut self, index: usize) -> &'static str {
        if self.settings.weather != Weather::Stormy {
            return "nothing";
        }
        let config = &self.world.client(self.who(index)).config;
        let inside = match self.dice.bool() {
            true => config.publish_address,
            false => config.subscribe_address,
        };
        let before = self.world.outside_of(inside);
        self.next_port += 1;
        let after = std::net::SocketAddr::new(before.ip(), self.next_port);
        self.world.rebind(inside, after);
        self.former.insert(before);
        self.note("rebind", self.who(index), &(before, after));
        "rebind"
    }

    fn mute(&mut self, index: usize) -> &'static str {
        let who = self.who(index);
        let published = &self.world.client(who).published;
        let known: Vec<_> = (0..published.len())
            .filter_map(|n| published[n].track.map(|track| (n, track)))
            .collect();
        let Some((number, track)) = self.dice.choice(&known).copied() else {
            return "nothing";
        };
        let muted = &mut self.actors[index].muted;
        let mute = !muted.remove(&number);
        if mute {
            muted.insert(number);
        }
        self.world.with(who, |c, _| {
            c.published[number].running = !mute;
            c.request(Action::Mute(track, mute));
        });
        self.note("mute", who, &(track, mute));
        "mute"
    }

    fn give_up_or_take(&mut self, index: usize) -> &'static str {
        let who = self.who(index);
        let tracks: Vec<_> = self.world.client(who).tracks.keys().copied().collect();
        let Some(track) = self.dice.choice(&tracks).copied() else {
            return "nothing";
        };
        if self.actors[index].given_up.remove(&track) {
            self.take_again(who, track);
            self.note("subscribe", who, &track);
            return "subscribe";
        }
        self.actors[index].given_up.insert(track);
        self.world
            .with(who, |c, _| c.request(Action::Unsubscribe(track)));
        self.note("unsubscribe", who, &track);
        // Everything that was under way has come before it may be wanted again.
        self.world.run_for(Duration::from_millis(700));
        "unsubscribe"
    }

    pub(super) fn take_again(&mut self, who: Who, track: rillway_core::id::TrackId) {
        self.world.with(who, |c, _| {
            if let Some(inbound) = c.inbound.get_mut(&track) {
                inbound.restart();
            }
            c.request(Action::Subscribe(track))
        });
    }

    fn restart_ice(&mut self, index: usize) -> &'static str {
        let who = self.who(index);
        let idle = self.world.client(who).unanswered.is_empty();
        if !idle || self.world.client(who).me.is_none() {
            return "nothing";
        }
        let publishing = self.world.client(who).is_publishing();
        self.note("restart ICE", who, &publishing);
        if publishing && self.dice.bool() {
            self.world.with(who, |c, now| c.restart_publish(now));
        } else if self.world.client(who).is_subscribing() {
            self.world.with(who, |c, _| c.request(Action::RestartIce));
        }
        "restart"
    }

    /// An encoder stops making a layer, or makes it again.
    fn pause_layer(&mut self, index: usize) -> &'static str {
        let who = self.who(index);
        let dice = &mut self.dice;
        let paused = self.world.with(who, |c, _| {
            let published = c.published.iter_mut().find(|p| p.layers.len() > 1)?;
            let layer = dice.usize(0..published.layers.len());
            published.layers[layer].paused ^= true;
            Some((layer, published.layers[layer].paused))
        });
        self.note("layer paused", who, &paused);
        "pause a layer"
    }

    fn publish_more(&mut self, index: usize) -> &'static str {
        let who = self.who(index);
        let client = self.world.client(who);
        let ready = client.is_publishing() && client.unanswered.is_empty();
        if !ready || client.published.len() >= 4 {
            return "nothing";
        }
        let spec = match self.dice.bool() {
            true => TrackSpec::audio(),
            false => TrackSpec::simulcast(),
        };
        let spec = spec.with_source(rillway_core::api::Source::Other);
        self.world.with(who, |c, now| c.add_track(now, spec));
        "publish"
    }

    fn speak(&mut self, index: usize) -> &'static str {
        let who = self.who(index);
        let level = self.dice.i8(-127..-5);
        self.world.with(who, |c, _| {
            for published in &mut c.published {
                published.spec.level = level;
            }
        });
        "speak"
    }

    /// Somebody guesses the id of a track in another room.
    fn pry(&mut self, index: usize) -> &'static str {
        let Actor { who, room, .. } = self.actors[index];
        let elsewhere = self.actors.iter().filter(|actor| actor.room != room);
        let tracks: Vec<_> = elsewhere
            .flat_map(|actor| &self.world.client(actor.who).published)
            .filter_map(|published| published.track)
            .collect();
        let Some(track) = self.dice.choice(&tracks).copied() else {
            return "nothing";
        };
        self.note("pry", who, &track);
        self.world
            .with(who, |c, _| c.request(Action::Subscribe(track)));
        "pry"
    }

    /// A stranger behind the same address sends what may be somebody's feedback: of one who is silent just now, if anybody
    /// is. (RTCP of 32 bytes, the least there is; RFC 3550 §6.4.2.)
    fn pretend(&mut self, index: usize) -> &'static str {
        let silent = self.cuts.last().map(|(_, who)| *who);
        let who = silent.unwrap_or(self.who(index));
        let config = &self.world.client(who).config;
        let known = self.world.outside_of(config.subscribe_address);
        self.next_port += 1;
        let stranger = std::net::SocketAddr::new(known.ip(), self.next_port);
        self.former.insert(stranger);
        self.note("pretend", who, &stranger);
        let mut report = [7; 32];
        report[..4].copy_from_slice(&[0x80, 201, 0, 1]);
        for _ in 0..3 {
            let shard = self.world.shard_of(who);
            self.world.inject(shard, stranger, &report);
            self.world.run_for(Duration::from_millis(150));
        }
        "pretend"
    }

    /// Who was without a network for so long that a handshake ran out of time, or the router gave its transport up, goes.
    pub(super) fn lose_the_lost(&mut self) {
        let lost: Vec<_> = (0..self.actors.len())
            .filter(|index| self.has_lost(self.who(*index)))
            .collect();
        for index in lost.into_iter().rev() {
            if self.go(index) == "go" {
                *self.outcome.actions.entry("lost").or_default() += 1;
            }
        }
    }

    fn has_lost(&self, who: Who) -> bool {
        use rillway_core::api::TransportState::Failed;
        let client = self.world.client(who);
        let both = [Direction::Publish, Direction::Subscribe];
        let failed = both.iter().any(|d| client.states.get(d) == Some(&Failed));
        let peers = [&client.publisher, &client.subscriber];
        let mut errors = peers.into_iter().flatten().flat_map(|peer| &peer.errors);
        failed || errors.any(|error| error.contains("timeout: handshake"))
    }
}
