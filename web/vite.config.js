// Relative addresses, so that the page works in any folder of any static host.
export default { base: "./", build: { target: "es2022", modulePreload: false } };
