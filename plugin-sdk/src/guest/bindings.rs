//! What `wit-bindgen` makes of the WIT: one module for what every component imports, and one for each
//! interface that it may export, so that a component exports what its `export!` names and nothing else.

/// Imports and the types that all interfaces share.
pub mod imports {
    wit_bindgen::generate!({
        inline: "
            package rillway:guest;
            world imports {
                include rillway:policy/capabilities@0.2.0;
                import rillway:policy/types@0.2.0;
            }
        ",
        path: "wit",
        generate_all,
        generate_unused_types: true,
    });
}

/// `lifecycle`.
pub mod lifecycle {
    wit_bindgen::generate!({
        inline: "
            package rillway:guest;
            world lifecycle { export rillway:policy/lifecycle@0.2.0; }
        ",
        path: "wit",
        pub_export_macro: true,
        export_macro_name: "export_lifecycle",
    });
}

/// `authentication`.
pub mod authentication {
    wit_bindgen::generate!({
        inline: "
            package rillway:guest;
            world authentication { export rillway:policy/authentication@0.2.0; }
        ",
        path: "wit",
        with: {
            "rillway:policy/types@0.2.0": crate::guest::bindings::imports::rillway::policy::types,
        },
        pub_export_macro: true,
        export_macro_name: "export_authentication",
    });
}

/// `signaling`.
pub mod signaling {
    wit_bindgen::generate!({
        inline: "
            package rillway:guest;
            world signaling { export rillway:policy/signaling@0.2.0; }
        ",
        path: "wit",
        with: {
            "rillway:policy/types@0.2.0": crate::guest::bindings::imports::rillway::policy::types,
        },
        pub_export_macro: true,
        export_macro_name: "export_signaling",
    });
}

/// `layer-selection`.
pub mod layer_selection {
    wit_bindgen::generate!({
        inline: "
            package rillway:guest;
            world layer-selection { export rillway:policy/layer-selection@0.2.0; }
        ",
        path: "wit",
        with: {
            "rillway:policy/types@0.2.0": crate::guest::bindings::imports::rillway::policy::types,
        },
        pub_export_macro: true,
        export_macro_name: "export_layer_selection",
    });
}

/// `recording`.
pub mod recording {
    wit_bindgen::generate!({
        inline: "
            package rillway:guest;
            world recording { export rillway:policy/recording@0.2.0; }
        ",
        path: "wit",
        with: {
            "rillway:policy/types@0.2.0": crate::guest::bindings::imports::rillway::policy::types,
        },
        pub_export_macro: true,
        export_macro_name: "export_recording",
    });
}
