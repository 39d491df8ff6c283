import { type CSSVariablesResolver, createTheme, MantineProvider } from "@mantine/core";
import { notificationsStore } from "@mantine/notifications";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { setNonce } from "get-nonce";
import { type ComponentType, type ReactNode, useEffect, useMemo, useState } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router";
import { ApiError } from "./api/client";
import { App } from "./app";
import { ConfirmProvider } from "./components/confirm";
import { I18nProvider, useI18n } from "./i18n";
import "./mantine.css";
import "./style.css";

// Style elements that libraries add are let in by this value only (Content-Security-Policy).
const nonce = document.querySelector<HTMLMetaElement>("meta[property=csp-nonce]")?.nonce ?? "";
setNonce(nonce);

const theme = createTheme({
  primaryColor: "sea",
  primaryShade: 7,
  colors: {
    sea: [
      "#e6f7fa",
      "#d0ecf1",
      "#a1d8e2",
      "#6fc3d2",
      "#48b1c4",
      "#31a6bc",
      "#1c8fa6",
      "#0b6f85",
      "#085d70",
      "#044c5c",
    ],
  },
  autoContrast: true,
  defaultRadius: "md",
  fontFamily:
    'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace',
  headings: { fontWeight: "650" },
  cursorType: "pointer",
  // The placeholder is an element in the menu that is not one of its items; without it the first item has the focus.
  components: {
    // What lies over the page is in a landmark of its own (index.html), as all that a page shows should be.
    Menu: { defaultProps: { withInitialFocusPlaceholder: false, portalProps: { target: "#over" } } },
    Popover: { defaultProps: { portalProps: { target: "#over" } } },
    // The page has one banner: the title of a dialog is none.
    ModalHeader: { defaultProps: { role: "presentation" } },
    DrawerHeader: { defaultProps: { role: "presentation" } },
  },
  respectReducedMotion: true,
});

// Quiet text keeps a contrast of 4.5:1 and more on every surface (WCAG 2.2, 1.4.3).
const resolver: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-dimmed": "#55606a",
    "--mantine-color-placeholder": "#66717b",
    "--mantine-color-teal-light-color": "#05603f",
    "--mantine-color-orange-light-color": "#8a3800",
    "--mantine-color-red-light-color": "#a11212",
    "--mantine-color-red-filled": "#c92a2a",
    "--mantine-color-red-filled-hover": "#a82020",
    "--mantine-color-error": "#c92a2a",
    "--mantine-color-blue-light-color": "#0b4f91",
    "--mantine-color-gray-light-color": "#343a40",
    "--mantine-color-sea-light-color": "#044c5c",
  },
  dark: {
    "--mantine-color-dimmed": "#a3aeb7",
    "--mantine-color-placeholder": "#98a3ad",
    "--mantine-color-red-filled": "#c92a2a",
    "--mantine-color-red-filled-hover": "#a82020",
    "--mantine-color-error": "#ff9c9c",
    "--mantine-color-body": "#181d21",
    "--mantine-color-text": "#dfe5e9",
    "--mantine-color-anchor": "#7fd0de",
  },
});

const client = new QueryClient({
  defaultOptions: {
    queries: {
      // The API client itself retries what a dying instance answers; other errors will not go away.
      retry: (count, error) => !(error instanceof ApiError) && count < 1,
      refetchOnWindowFocus: false,
    },
  },
});

/** The theme with the names of its own buttons in the user's language. */
function Themed({ children }: { children: ReactNode }) {
  const { t } = useI18n();
  const named = useMemo(
    () => ({
      ...theme,
      components: {
        ...theme.components,
        Notification: { defaultProps: { closeButtonProps: { "aria-label": t("Close") } } },
      },
    }),
    [t],
  );
  return (
    <MantineProvider
      theme={named}
      defaultColorScheme="auto"
      cssVariablesResolver={resolver}
      getStyleNonce={() => nonce}
    >
      {children}
    </MantineProvider>
  );
}

/** Notices are fetched with the first of them, or once the first page has stood for a while. */
function Later() {
  const [Notices, setNotices] = useState<ComponentType | null>(null);
  useEffect(() => {
    let timer: number;
    const load = () => {
      window.clearTimeout(timer);
      import("./components/notices").then(
        (module) => setNotices(() => module.Notices),
        () => {
          timer = window.setTimeout(load, 5000);
        },
      );
    };
    timer = window.setTimeout(load, 4000);
    const ends = notificationsStore.subscribe(load);
    return () => {
      window.clearTimeout(timer);
      ends();
    };
  }, []);
  return Notices && <Notices />;
}

createRoot(document.getElementById("root")!).render(
  <I18nProvider>
    <Themed>
      <Later />
      <QueryClientProvider client={client}>
        <ConfirmProvider>
          <BrowserRouter>
            <App />
          </BrowserRouter>
        </ConfirmProvider>
      </QueryClientProvider>
    </Themed>
  </I18nProvider>,
);
