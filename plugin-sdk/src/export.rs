//! The macro that makes a component of a plugin.

/// Makes a component of a plugin: `export!(MyPlugin: signaling)`, or several kinds of `authentication`,
/// `signaling`, `layer_selection`, `recording`. The type implements [`Plugin`](crate::Plugin) and the trait
/// of each kind; one value of it lives in each instance. At most once in a crate, at its root or in any
/// module. Natively it only checks the traits.
#[macro_export]
macro_rules! export {
    ($plugin:ty: $($kind:ident),+ $(,)?) => {
        const _: fn() = || {
            fn is_a_plugin<P: $crate::Plugin>() {}
            is_a_plugin::<$plugin>();
            $($crate::__is_of_kind!($kind $plugin);)+
        };

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                // A component has one thread, and no two calls enter an instance at once.
                static INSTANCE: $crate::guest::Instance<$plugin> = const {
                    $crate::guest::Instance::new()
                };
            }

            struct Component;

            impl $crate::guest::bindings::lifecycle::exports::rillway::policy::lifecycle::Guest
                for Component
            {
                fn start() -> ::std::result::Result<(), ::std::string::String> {
                    INSTANCE.with($crate::guest::Instance::start)
                }
            }

            $crate::guest::bindings::lifecycle::export_lifecycle!(
                Component with_types_in $crate::guest::bindings::lifecycle
            );

            $($crate::__export_kind!($kind);)+
        };
    };
}

/// Half of [`export!`]: the trait that belongs to a kind.
#[doc(hidden)]
#[macro_export]
macro_rules! __is_of_kind {
    (authentication $plugin:ty) => {{
        fn authenticates<P: $crate::Authentication>() {}
        authenticates::<$plugin>();
    }};
    (signaling $plugin:ty) => {{
        fn signals<P: $crate::Signaling>() {}
        signals::<$plugin>();
    }};
    (layer_selection $plugin:ty) => {{
        fn selects_layers<P: $crate::LayerSelection>() {}
        selects_layers::<$plugin>();
    }};
    (recording $plugin:ty) => {{
        fn records<P: $crate::Recording>() {}
        records::<$plugin>();
    }};
    ($other:ident $plugin:ty) => {
        ::std::compile_error!(::std::concat!(
            "no such kind of policy: ",
            ::std::stringify!($other),
            "; there are authentication, signaling, layer_selection, recording"
        ));
    };
}

/// Half of [`export!`]: the exports of a kind.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_kind {
    (authentication) => {
        const _: () = {
            use $crate::guest::bindings::authentication as bindings;
            use bindings::exports::rillway::policy::authentication as wit;

            impl wit::Guest for Component {
                fn authenticate(
                    attempt: wit::Attempt,
                ) -> ::std::result::Result<wit::Grant, wit::Denial> {
                    INSTANCE.with(|instance| instance.authenticate(attempt))
                }
            }
        };
        $crate::guest::bindings::authentication::export_authentication!(
            Component with_types_in $crate::guest::bindings::authentication
        );
    };
    (signaling) => {
        const _: () = {
            use $crate::guest::bindings::signaling as bindings;
            use bindings::exports::rillway::policy::signaling as wit;

            impl wit::Guest for Component {
                fn handle(input: wit::Input) -> ::std::vec::Vec<wit::Command> {
                    INSTANCE.with(|instance| instance.handle(input))
                }
            }
        };
        $crate::guest::bindings::signaling::export_signaling!(
            Component with_types_in $crate::guest::bindings::signaling
        );
    };
    (layer_selection) => {
        const _: () = {
            use $crate::guest::bindings::layer_selection as bindings;
            use bindings::exports::rillway::policy::layer_selection as wit;

            impl wit::Guest for Component {
                fn choose(view: wit::View) -> wit::Decision {
                    INSTANCE.with(|instance| instance.choose(view))
                }
            }
        };
        $crate::guest::bindings::layer_selection::export_layer_selection!(
            Component with_types_in $crate::guest::bindings::layer_selection
        );
    };
    (recording) => {
        const _: () = {
            use $crate::guest::bindings::recording as bindings;
            use bindings::exports::rillway::policy::recording as wit;

            impl wit::Guest for Component {
                fn decide(event: wit::Event) -> ::std::vec::Vec<wit::Order> {
                    INSTANCE.with(|instance| instance.decide(event))
                }
            }
        };
        $crate::guest::bindings::recording::export_recording!(
            Component with_types_in $crate::guest::bindings::recording
        );
    };
}
