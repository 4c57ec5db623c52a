//! What `bindgen!` makes of the WIT of version 0.2.0.

wasmtime::component::bindgen!({
    path: "../../plugin-sdk/wit",
    inline: "
        package rillway:host;

        world policy {
            include rillway:policy/authentication-plugin@0.2.0;
            include rillway:policy/signaling-plugin@0.2.0;
            include rillway:policy/layer-selection-plugin@0.2.0;
            include rillway:policy/recording-plugin@0.2.0;
        }
    ",
    imports: {
        "rillway:policy/http.send": async | trappable,
        "rillway:policy/crypto.random": trappable,
    },
    exports: { default: async },
});
