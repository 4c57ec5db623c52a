//! MP4: fragments while it is written, an ordinary seekable file in the end.
//!
//! The file begins `ftyp free moov`, and each fragment is a `moof mdat` that needs nothing after it. Players on
//! ffmpeg (Chromium too) refuse a whole file for a `moof` that is cut off, so a fragment is appended as one
//! `free` box, and then the first eight bytes are written over: a crash in between leaves a box to skip.
//!
//! At the end a `moov` with all sample tables is appended, and then the sixteen bytes of `free` become the
//! header of one `mdat` that reaches up to it and hides the rest. A crash leaves a fragmented file at any
//! moment; one between the two writes leaves a second `moov` that players skip.

use std::num::NonZeroU32;

use shiguredo_mp4::boxes::{
    Brand, Co64Box, DinfBox, EdtsBox, ElstBox, ElstEntry, FtypBox, HdlrBox, MdhdBox, MdiaBox,
    MediaHeader, MfhdBox, MinfBox, MoofBox, MoovBox, MvexBox, MvhdBox, SampleEntry, SmhdBox,
    StblBox, StcoBox, StscBox, StscEntry, StsdBox, StssBox, StszBox, SttsBox, SttsEntry, TfdtBox,
    TfhdBox, TkhdBox, TrafBox, TrakBox, TrexBox, TrunBox, TrunSample, VmhdBox,
};
use shiguredo_mp4::{
    Either, Encode, Error, FixedPointNumber, LanguageCode, Mp4FileTime, SampleFlags,
};

use super::file::Sample;
use super::frame::Config;
use crate::film::Write;

/// Of the movie header: milliseconds.
const MOVIE: NonZeroU32 = NonZeroU32::new(1000).unwrap();
const ONE: NonZeroU32 = NonZeroU32::MIN;
/// Header of a box with a 64-bit size.
const LARGE_HEADER: usize = 16;

/// The muxer of one file. Keeps the index of the final `moov`: four bytes per frame, eight more where the
/// frame rate changes, twelve per second.
#[derive(Debug)]
pub(super) struct Mp4 {
    tracks: Vec<Track>,
    /// Where the placeholder of the final `mdat` header is.
    placeholder: u64,
    /// Bytes so far.
    position: u64,
    fragments: u32,
}

#[derive(Debug)]
struct Track {
    entry: SampleEntry,
    video: bool,
    timescale: NonZeroU32,
    /// Of the largest frame.
    width: u32,
    height: u32,
    first: Option<u64>,
    /// End of the last sample, in ticks.
    end: u64,
    sizes: Vec<u32>,
    durations: Vec<SttsEntry>,
    keyframes: Vec<NonZeroU32>,
    chunks: Vec<(u64, u32)>,
}

impl Mp4 {
    /// The beginning of a file with these tracks.
    pub(super) fn new(configs: &[Config]) -> Result<(Self, Vec<u8>), Error> {
        let mut tracks = Vec::new();
        for config in configs {
            let video = *config != Config::Opus;
            tracks.push(Track::new(
                config.sample_entry()?,
                video,
                config.timescale(),
                config.size(),
            ));
        }
        let mut bytes = FtypBox {
            major_brand: Brand::ISOM,
            minor_version: 512,
            compatible_brands: vec![Brand::ISOM, Brand::ISO5, Brand::ISO6, Brand::MP41],
        }
        .encode_to_vec()?;
        let placeholder = bytes.len() as u64;
        bytes.extend_from_slice(&(LARGE_HEADER as u32).to_be_bytes());
        bytes.extend_from_slice(b"free");
        bytes.extend_from_slice(&[0; LARGE_HEADER - 8]);
        let mut mp4 = Self {
            tracks,
            placeholder,
            position: 0,
            fragments: 0,
        };
        bytes.extend_from_slice(&mp4.movie(false)?.encode_to_vec()?);
        mp4.position = bytes.len() as u64;
        Ok((mp4, bytes))
    }

    /// The muxer of a file that has begun, without its fragments: see [`Self::found`].
    pub(super) fn resume(moov: MoovBox, placeholder: u64) -> Self {
        let tracks = moov.trak_boxes.into_iter().filter_map(|trak| {
            let video = trak.mdia_box.hdlr_box.handler_type == HdlrBox::HANDLER_TYPE_VIDE;
            let side = |side: FixedPointNumber<i16, u16>| u32::try_from(side.integer).unwrap_or(0);
            let size = (side(trak.tkhd_box.width), side(trak.tkhd_box.height));
            let entry = trak
                .mdia_box
                .minf_box
                .stbl_box
                .stsd_box
                .entries
                .into_iter()
                .next()?;
            Some(Track::new(
                entry,
                video,
                trak.mdia_box.mdhd_box.timescale,
                size,
            ))
        });
        Self {
            tracks: tracks.collect(),
            placeholder,
            position: 0,
            fragments: 0,
        }
    }

    /// A fragment of the file, of which the `moof` is at `at` and what follows its `mdat` at `end`.
    pub(super) fn found(&mut self, moof: &MoofBox, at: u64, end: u64) -> Result<(), Error> {
        for traf in &moof.traf_boxes {
            let index = usize::try_from(traf.tfhd_box.track_id)
                .unwrap_or(0)
                .wrapping_sub(1);
            let Some(track) = self.tracks.get_mut(index) else {
                continue;
            };
            let mut ticks = traf
                .tfdt_box
                .as_ref()
                .map_or(track.end, |tfdt| tfdt.base_media_decode_time);
            for run in &traf.trun_boxes {
                let count = u32::try_from(run.samples.len()).map_err(|_| too_large())?;
                track.chunks.push((
                    at.saturating_add_signed(i64::from(run.data_offset.unwrap_or(0))),
                    count,
                ));
                for sample in &run.samples {
                    let keyframe = sample
                        .flags
                        .is_none_or(|flags| !flags.sample_is_non_sync_sample());
                    let duration = sample.duration.unwrap_or(1);
                    track.index(ticks, duration, sample.size.unwrap_or(0), keyframe);
                    ticks = ticks.saturating_add(u64::from(duration));
                }
            }
        }
        self.position = end;
        Ok(())
    }

    /// A frame of track `index` is as large.
    pub(super) fn size(&mut self, index: usize, width: u32, height: u32) {
        if let Some(track) = self.tracks.get_mut(index) {
            track.width = track.width.max(width);
            track.height = track.height.max(height);
        }
    }

    /// Samples of each track, which follow those of the fragments before: what is appended after `header`,
    /// which is of the file's beginning, and what makes it valid. Nothing where there are none.
    pub(super) fn fragment(
        &mut self,
        header: Option<Vec<u8>>,
        samples: &[Vec<Sample>],
    ) -> Result<Vec<Write>, Error> {
        if samples.iter().all(Vec::is_empty) {
            return Ok(header.into_iter().map(Write::Append).collect());
        }
        self.fragments = self.fragments.saturating_add(1);
        // Offsets are as long whatever they say: measure once, then write.
        let measured = self.moof(samples, 0).encode_to_vec()?.len();
        let moof = self.moof(samples, measured + 8).encode_to_vec()?;
        let payload: usize = samples
            .iter()
            .flatten()
            .map(|sample| sample.data.len())
            .sum();
        let mut bytes = moof;
        bytes.extend_from_slice(
            &u32::try_from(payload + 8)
                .map_err(|_| too_large())?
                .to_be_bytes(),
        );
        bytes.extend_from_slice(b"mdat");
        for (track, samples) in self.tracks.iter_mut().zip(samples) {
            if !samples.is_empty() {
                let count = u32::try_from(samples.len()).map_err(|_| too_large())?;
                track
                    .chunks
                    .push((self.position + bytes.len() as u64, count));
            }
            for sample in samples {
                let size = u32::try_from(sample.data.len()).map_err(|_| too_large())?;
                track.index(sample.ticks, sample.duration, size, sample.keyframe);
                bytes.extend_from_slice(&sample.data);
            }
        }
        let at = self.position;
        self.position += bytes.len() as u64;
        if let Some(mut all) = header {
            all.extend_from_slice(&bytes);
            return Ok(vec![Write::Append(all)]);
        }
        let mut unfinished = u32::try_from(bytes.len())
            .map_err(|_| too_large())?
            .to_be_bytes()
            .to_vec();
        unfinished.extend_from_slice(b"free");
        let head = bytes.splice(..unfinished.len(), unfinished).collect();
        Ok(vec![
            Write::Append(bytes),
            Write::Overwrite {
                offset: at,
                bytes: head,
            },
        ])
    }

    fn moof(&self, samples: &[Vec<Sample>], first_offset: usize) -> MoofBox {
        let mut offset = first_offset;
        let mut trafs = Vec::new();
        for (number, samples) in (1_u32..).zip(samples) {
            let Some(first) = samples.first() else {
                continue;
            };
            trafs.push(TrafBox {
                tfhd_box: TfhdBox {
                    track_id: number,
                    base_data_offset: None,
                    sample_description_index: None,
                    default_sample_duration: None,
                    default_sample_size: None,
                    default_sample_flags: None,
                    duration_is_empty: false,
                    default_base_is_moof: true,
                },
                tfdt_box: Some(TfdtBox {
                    version: 1,
                    base_media_decode_time: first.ticks,
                }),
                trun_boxes: vec![TrunBox {
                    data_offset: Some(i32::try_from(offset).unwrap_or(i32::MAX)),
                    first_sample_flags: None,
                    samples: samples.iter().map(run_sample).collect(),
                }],
                unknown_boxes: Vec::new(),
            });
            offset += samples
                .iter()
                .map(|sample| sample.data.len())
                .sum::<usize>();
        }
        MoofBox {
            mfhd_box: MfhdBox {
                sequence_number: self.fragments,
            },
            traf_boxes: trafs,
            unknown_boxes: Vec::new(),
        }
    }

    /// Makes an ordinary file of it.
    pub(super) fn finish(&mut self) -> Result<Vec<Write>, Error> {
        let moov = self.movie(true)?.encode_to_vec()?;
        let mut header = 1_u32.to_be_bytes().to_vec();
        header.extend_from_slice(b"mdat");
        header.extend_from_slice(&(self.position - self.placeholder).to_be_bytes());
        Ok(vec![
            Write::Append(moov),
            Write::Overwrite {
                offset: self.placeholder,
                bytes: header,
            },
        ])
    }

    fn movie(&self, complete: bool) -> Result<MoovBox, Error> {
        let numbered = || {
            (1_u32..)
                .zip(&self.tracks)
                .filter(move |(_, track)| !complete || track.first.is_some())
        };
        let duration = numbered()
            .map(|(_, track)| track.movie_time(track.end))
            .max()
            .unwrap_or(0);
        let traks = numbered()
            .map(|(number, track)| track.trak(number, complete))
            .collect::<Result<_, _>>()?;
        let fragmented = || MvexBox {
            mehd_box: None,
            trex_boxes: numbered()
                .map(|(track_id, _)| TrexBox {
                    track_id,
                    default_sample_description_index: 1,
                    default_sample_duration: 0,
                    default_sample_size: 0,
                    default_sample_flags: SampleFlags::empty(),
                })
                .collect(),
            unknown_boxes: Vec::new(),
        };
        Ok(MoovBox {
            mvhd_box: MvhdBox {
                creation_time: Mp4FileTime::default(),
                modification_time: Mp4FileTime::default(),
                timescale: MOVIE,
                duration: if complete { duration } else { 0 },
                rate: MvhdBox::DEFAULT_RATE,
                volume: MvhdBox::DEFAULT_VOLUME,
                matrix: MvhdBox::DEFAULT_MATRIX,
                next_track_id: u32::try_from(self.tracks.len() + 1).map_err(|_| too_large())?,
            },
            trak_boxes: traks,
            mvex_box: (!complete).then(fragmented),
            unknown_boxes: Vec::new(),
        })
    }
}

impl Track {
    fn new(
        entry: SampleEntry,
        video: bool,
        timescale: NonZeroU32,
        (width, height): (u32, u32),
    ) -> Self {
        Self {
            entry,
            video,
            timescale,
            width,
            height,
            first: None,
            end: 0,
            sizes: Vec::new(),
            durations: Vec::new(),
            keyframes: Vec::new(),
            chunks: Vec::new(),
        }
    }

    fn index(&mut self, ticks: u64, duration: u32, size: u32, keyframe: bool) {
        self.first.get_or_insert(ticks);
        self.end = ticks.saturating_add(u64::from(duration));
        self.sizes.push(size);
        match self.durations.last_mut() {
            Some(run) if run.sample_delta == duration => run.sample_count += 1,
            _ => self.durations.push(SttsEntry {
                sample_count: 1,
                sample_delta: duration,
            }),
        }
        if keyframe && self.video {
            let number = u32::try_from(self.sizes.len())
                .ok()
                .and_then(NonZeroU32::new);
            self.keyframes.extend(number);
        }
    }

    /// Ticks of the track in those of the movie.
    fn movie_time(&self, ticks: u64) -> u64 {
        let scale = u128::from(self.timescale.get());
        u64::try_from((u128::from(ticks) * u128::from(MOVIE.get()) + scale / 2) / scale)
            .unwrap_or(u64::MAX)
    }

    fn trak(&self, number: u32, complete: bool) -> Result<TrakBox, Error> {
        let first = self.first.unwrap_or(0);
        let media = if complete {
            self.end.saturating_sub(first)
        } else {
            0
        };
        Ok(TrakBox {
            tkhd_box: self.header(number, complete),
            edts_box: (complete && first > 0).then(|| self.edits(first, media)),
            mdia_box: MdiaBox {
                mdhd_box: MdhdBox {
                    creation_time: Mp4FileTime::default(),
                    modification_time: Mp4FileTime::default(),
                    timescale: self.timescale,
                    duration: media,
                    language: LanguageCode::UNDEFINED,
                },
                hdlr_box: HdlrBox {
                    handler_type: if self.video {
                        HdlrBox::HANDLER_TYPE_VIDE
                    } else {
                        HdlrBox::HANDLER_TYPE_SOUN
                    },
                    name: vec![0],
                },
                minf_box: MinfBox {
                    media_header: Some(if self.video {
                        MediaHeader::Vmhd(VmhdBox::default())
                    } else {
                        MediaHeader::Smhd(SmhdBox::default())
                    }),
                    dinf_box: DinfBox::LOCAL_FILE,
                    stbl_box: self.samples(complete)?,
                    unknown_boxes: Vec::new(),
                },
                unknown_boxes: Vec::new(),
            },
            unknown_boxes: Vec::new(),
        })
    }

    fn header(&self, number: u32, complete: bool) -> TkhdBox {
        let side =
            |pixels: u32| FixedPointNumber::new(i16::try_from(pixels).unwrap_or(i16::MAX), 0);
        TkhdBox {
            flag_track_enabled: true,
            flag_track_in_movie: true,
            flag_track_in_preview: false,
            flag_track_size_is_aspect_ratio: false,
            creation_time: Mp4FileTime::default(),
            modification_time: Mp4FileTime::default(),
            track_id: number,
            duration: if complete {
                self.movie_time(self.end)
            } else {
                0
            },
            layer: TkhdBox::DEFAULT_LAYER,
            alternate_group: TkhdBox::DEFAULT_ALTERNATE_GROUP,
            volume: if self.video {
                TkhdBox::DEFAULT_VIDEO_VOLUME
            } else {
                TkhdBox::DEFAULT_AUDIO_VOLUME
            },
            matrix: TkhdBox::DEFAULT_MATRIX,
            width: side(self.width),
            height: side(self.height),
        }
    }

    /// The track begins later than the file: nothing for so long, then all of it.
    fn edits(&self, first: u64, media: u64) -> EdtsBox {
        let entry = |ticks, media_time| ElstEntry {
            edit_duration: self.movie_time(ticks),
            media_time,
            media_rate: FixedPointNumber::new(1, 0),
        };
        EdtsBox {
            elst_box: Some(ElstBox {
                entries: vec![entry(first, -1), entry(media, 0)],
            }),
            unknown_boxes: Vec::new(),
        }
    }

    fn samples(&self, complete: bool) -> Result<StblBox, Error> {
        let (chunks, sizes, durations) = if complete {
            (
                self.chunks.as_slice(),
                self.sizes.clone(),
                self.durations.clone(),
            )
        } else {
            Default::default()
        };
        let mut runs: Vec<StscEntry> = Vec::new();
        for (number, (_, count)) in (1_u32..).zip(chunks) {
            if runs.last().is_none_or(|run| run.sample_per_chunk != *count) {
                let first_chunk = NonZeroU32::new(number).unwrap_or(ONE);
                runs.push(StscEntry {
                    first_chunk,
                    sample_per_chunk: *count,
                    sample_description_index: ONE,
                });
            }
        }
        let short: Option<Vec<u32>> = chunks
            .iter()
            .map(|(offset, _)| u32::try_from(*offset).ok())
            .collect();
        Ok(StblBox {
            stsd_box: StsdBox {
                entries: vec![self.entry.clone()],
            },
            stts_box: SttsBox { entries: durations },
            ctts_box: None,
            cslg_box: None,
            stsc_box: StscBox { entries: runs },
            stsz_box: StszBox::Variable { entry_sizes: sizes },
            stco_or_co64_box: match short {
                Some(chunk_offsets) => Either::A(StcoBox { chunk_offsets }),
                None => Either::B(Co64Box {
                    chunk_offsets: chunks.iter().map(|(offset, _)| *offset).collect(),
                }),
            },
            stss_box: (complete && self.video).then(|| StssBox {
                sample_numbers: self.keyframes.clone(),
            }),
            sdtp_box: None,
            unknown_boxes: Vec::new(),
        })
    }
}

fn run_sample(sample: &Sample) -> TrunSample {
    let depends = if sample.keyframe { 2 } else { 1 };
    TrunSample {
        duration: Some(sample.duration),
        size: Some(u32::try_from(sample.data.len()).unwrap_or(u32::MAX)),
        flags: Some(SampleFlags::from_fields(
            0,
            depends,
            0,
            0,
            0,
            !sample.keyframe,
            0,
        )),
        composition_time_offset: None,
    }
}

fn too_large() -> Error {
    Error::with_reason(
        shiguredo_mp4::ErrorKind::InvalidInput,
        "a fragment of more than 4 GiB",
    )
}
