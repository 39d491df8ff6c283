import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const server = process.env.SEAWALL_URL ?? "http://127.0.0.1:8080";

const lighterScrollArea: Plugin = {
  name: "lighter-scroll-area",
  enforce: "pre",
  resolveId: (source, importer) =>
    source === "@floating-ui/react" && importer?.includes("/ScrollArea/")
      ? new URL("src/lib/merge-refs.ts", import.meta.url).pathname
      : null,
};

const BASE =
  /node_modules.(react|react-dom|scheduler|react-router|clsx|openapi-fetch|@tanstack|@mantine.(hooks|store)|@mantine.core.esm.core)[\\/]|node_modules.@mantine.core.esm.(components.(ActionIcon|Alert|Box|Button|Checkbox|CloseButton|Group|Input|InputBase|Loader|Stack|Text|TextInput|Transition|UnstyledButton)|utils)[\\/]|createLucideIcon|Icon\.mjs|src.(lib|i18n.index|hooks|session|api|components.ui)/;
const FRAME =
  /ComboboxChevron[\\/]|src.(components.(shell|table|resource-table|menu)\.tsx|features.projects.(list|roles))|components.(Table|SegmentedControl|Pagination|NativeSelect|Skeleton|Burger|Kbd|ScrollArea|FloatingIndicator)[\\/]/;

export default defineConfig({
  base: "/portal/",
  plugins: [react(), lighterScrollArea],
  // The server puts a fresh value in place of this word in every answer (src/seawall/web/portal.py).
  html: { cspNonce: "__CSP_NONCE__" },
  build: {
    outDir: "../src/seawall/portal_dist",
    emptyOutDir: true,
    target: "es2022",
    // light-dark() is left as it is: written another way it misses the scheme that the user chose.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    assetsInlineLimit: 0,
    sourcemap: false,
    chunkSizeWarningLimit: 700,
    rolldownOptions: {
      output: {
        codeSplitting: {
          // What every page has, and what every page behind the sign-in has, in one file each: of a small file, half
          // a KiB of headers is the most part.
          groups: [
            { name: "base", test: BASE },
            { name: "frame", test: FRAME },
          ],
        },
      },
    },
  },
  server: {
    proxy: Object.fromEntries(["/api", "/c", "/v2", "/service", "/readyz"].map((path) => [path, server])),
  },
});
