//! What `bindgen!` makes of the WIT of version 0.1.0.

wasmtime::component::bindgen!({
    path: "../../plugin-sdk/wit/released/0.1.0",
    inline: "
        package rillway:host;

        world policy {
            include rillway:policy/authentication-plugin@0.1.0;
            include rillway:policy/signaling-plugin@0.1.0;
            include rillway:policy/layer-selection-plugin@0.1.0;
            include rillway:policy/recording-plugin@0.1.0;
        }
    ",
    imports: {
        "rillway:policy/http.send": async | trappable,
        "rillway:policy/crypto.random": trappable,
    },
    exports: { default: async },
});
