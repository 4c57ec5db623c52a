mod faults;
mod queue;
mod recording;
mod world;
