//! What a protocol asks of the router, in every version, and what is of one version only.

/// The SDK's action for each of a version: `actions!(wit, sdk)` or
/// `actions!(wit, sdk, wit::Action::Newer(value) => ...)`.
macro_rules! actions {
    ($wit:ident, $sdk:ident $(, $more:pat => $value:expr)*) => {
        impl From<$wit::Action> for $sdk::Action {
            fn from(action: $wit::Action) -> Self {
                match action {
                    $wit::Action::Send(frame) => $sdk::Action::Send(frame.into()),
                    $wit::Action::Respond(response) => $sdk::Action::Respond($sdk::HttpResponse {
                        id: response.id,
                        status: response.status,
                        headers: response.headers,
                        body: response.body,
                    }),
                    $wit::Action::Close((code, reason)) => $sdk::Action::Close(code, reason),
                    $wit::Action::TickEveryMs(period) => $sdk::Action::TickEveryMs(period),
                    $wit::Action::Authenticate(ask) => $sdk::Action::Authenticate {
                        scheme: ask.scheme,
                        credentials: ask.credentials,
                        room: ask.room,
                        name: ask.name,
                    },
                    $wit::Action::Join => $sdk::Action::Join,
                    $wit::Action::Leave => $sdk::Action::Leave,
                    $wit::Action::AcceptOffer(offer) => $sdk::Action::AcceptOffer {
                        sdp: offer.sdp,
                        sources: offer.sources.into_iter().map(Into::into).collect(),
                    },
                    $wit::Action::AcceptAnswer(answer) => $sdk::Action::AcceptAnswer {
                        offer_id: answer.offer,
                        sdp: answer.sdp,
                    },
                    $wit::Action::AcceptReceivingOffer(sdp) => $sdk::Action::AcceptReceivingOffer { sdp },
                    $wit::Action::AddCandidate((direction, line)) => {
                        $sdk::Action::AddCandidate(direction.into(), line)
                    }
                    $wit::Action::RestartIce => $sdk::Action::RestartIce,
                    $wit::Action::CloseTransport(direction) => $sdk::Action::CloseTransport(direction.into()),
                    $wit::Action::Subscribe(id) => $sdk::Action::Subscribe(rillway_plugin_sdk::types::TrackId(id)),
                    $wit::Action::Unsubscribe(id) => $sdk::Action::Unsubscribe(rillway_plugin_sdk::types::TrackId(id)),
                    $wit::Action::Wish(wish) => $sdk::Action::Wish(wish.into()),
                    $wit::Action::Mute((id, muted)) => $sdk::Action::Mute(rillway_plugin_sdk::types::TrackId(id), muted),
                    $wit::Action::Unpublish(id) => $sdk::Action::Unpublish(rillway_plugin_sdk::types::TrackId(id)),
                    $wit::Action::SendData(data) => $sdk::Action::SendData {
                        to: data.to.into_iter().map(rillway_plugin_sdk::types::ParticipantId).collect(),
                        label: data.label,
                        payload: data.payload,
                    },
                    $wit::Action::SendTo(relay) => {
                        $sdk::Action::SendTo(rillway_plugin_sdk::types::ParticipantId(relay.to), relay.frame.into())
                    }
                    $wit::Action::RequestRecording(start) => $sdk::Action::RequestRecording(start),
                    $wit::Action::Extension(extension) => $sdk::Action::Extension(extension.into()),
                    $($more => $value,)*
                }
            }
        }
    };
}
