//! The code that `build.rs` generates from `proto/`. Its comments are the API reference.

#![allow(clippy::pedantic, missing_docs, reason = "generated")]

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

tonic::include_proto!("understudy.v1");

/// The descriptors of everything above, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/understudy.bin"));

/// The initial size and the growth step of a buffer, enough for any usual message: tonic takes 8 KB per direction and call.
const BUFFER_BYTES: usize = 512;
/// A longer message is sent before the next one is encoded; tonic's own value.
const YIELD_BYTES: usize = 32 * 1024;

/// prost's codec with buffers for messages as small as these.
pub struct SmallCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }
}
