// The frame of every page: header with search and user menu, navigation on the left.
import {
  ActionIcon,
  Alert,
  Box,
  Burger,
  Button,
  Group,
  Kbd,
  Text,
  TextInput,
  UnstyledButton,
} from "@mantine/core";
import { useDisclosure, useHotkeys } from "@mantine/hooks";
import {
  Bot,
  Boxes,
  Brush,
  Cable,
  ChevronDown,
  CircleUser,
  Copy,
  FolderKanban,
  Gauge,
  History,
  Info,
  Languages,
  LayoutDashboard,
  ListTree,
  LogIn,
  LogOut,
  ScrollText,
  Search,
  Server,
  Settings,
  Share2,
  ShieldCheck,
  SlidersHorizontal,
  Tag,
  User,
  Users,
} from "lucide-react";
import {
  type ComponentType,
  type FormEvent,
  type ReactNode,
  Suspense,
  useEffect,
  useRef,
  useState,
} from "react";
import { Link, NavLink, useLocation, useNavigate } from "react-router";
import { BASE, logout, PROVIDER_LOGOUT } from "../api/client";
import { useGet } from "../hooks";
import { type Text as Key, LANGUAGES, type Language, useI18n } from "../i18n";
import { openFor, useOperations, watch } from "../lib/operations";
import { part } from "../lib/pages";
import { useSession } from "../session";
import { SchemeButton } from "./looks";
import { ButtonMenu } from "./menu";
import type { Command } from "./palette";

const Palette = part<"Palette", { pages: Command[]; onClose: () => void }>(
  () => import("./palette"),
  "Palette",
);
const EventLog = part<"EventLog", { onClose: () => void }>(() => import("./event-log"), "EventLog");
const Preferences = part<"Preferences", { onClose: () => void }>(
  () => import("../features/account/preferences"),
  "Preferences",
);
const About = part<"About", { onClose: () => void }>(() => import("../features/account/about"), "About");

type Icon = ComponentType<{ size?: number; "aria-hidden"?: boolean; strokeWidth?: number }>;
const MAIN: [Key, string, Icon][] = [
  ["Projects", "/harbor/projects", FolderKanban],
  ["Logs", "/harbor/logs", ScrollText],
];
const ADMINISTRATION: [Key, string, Icon][] = [
  ["Overview", "/harbor/dashboard", LayoutDashboard],
  ["Users", "/harbor/users", User],
  ["Groups", "/harbor/groups", Users],
  ["Robot accounts", "/harbor/robot-accounts", Bot],
  ["Registries", "/harbor/registries", Boxes],
  ["Replications", "/harbor/replications", Copy],
  ["Distributions", "/harbor/distribution/instances", Share2],
  ["Labels", "/harbor/labels", Tag],
  ["Project quotas", "/harbor/project-quotas", Gauge],
  ["Interrogation services", "/harbor/interrogation-services", ShieldCheck],
  ["Clean up", "/harbor/clearing-job", Brush],
  ["Job service dashboard", "/harbor/job-service-dashboard", ListTree],
  ["Cluster", "/harbor/cluster", Server],
  ["Configuration", "/harbor/configs", Settings],
];

export function Shell({ children }: { children: ReactNode }) {
  const { user, admin, info } = useSession();
  const { t } = useI18n();
  const [opened, nav] = useDisclosure(false);
  const location = useLocation();
  const main = useRef<HTMLElement>(null);
  const path = location.pathname;
  // Those who may see the log of no project would find it empty for ever.
  const seen = useGet<unknown[]>(
    "/auditlog-exts",
    { query: { page_size: 1 } },
    { enabled: !!user && !admin, staleTime: 300_000 },
  );
  const navigate = useNavigate();
  const [commands, palette] = useDisclosure(false);
  useHotkeys([["mod+K", palette.open]], []);
  const logs = !!user && (admin || !!seen.data?.length);

  // A new page starts at its top, and the drawer of small screens closes.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the path is the reason to run
  useEffect(() => {
    nav.close();
    main.current?.scrollTo(0, 0);
  }, [path]);

  const entries = [...(logs ? MAIN : MAIN.slice(0, 1)), ...(admin ? ADMINISTRATION : [])];
  return (
    <div className="shell" data-nav={opened || undefined}>
      <a className="skip" href="#main">
        {t("Skip to content")}
      </a>
      <header className="header">
        <Group gap="sm" wrap="nowrap">
          <Burger
            opened={opened}
            onClick={nav.toggle}
            size="sm"
            color="white"
            className="burger"
            aria-label={t("Navigation")}
            aria-expanded={opened}
          />
          <Link to="/harbor/projects" className="brand" aria-label="Seawall">
            <img src="/portal/logo.svg" alt="" width={28} height={28} />
            <span>Seawall</span>
          </Link>
        </Group>
        <GlobalSearch />
        <Group gap={6} wrap="nowrap">
          {user && <Operations user={user.user_id ?? 0} />}
          <LanguageMenu />
          <SchemeButton />
          {user ? (
            <UserMenu />
          ) : (
            <Button
              component={Link}
              to={`/account/sign-in?redirect_url=${encodeURIComponent(path)}`}
              variant="white"
              size="xs"
              leftSection={<LogIn size={14} aria-hidden />}
            >
              {t("Sign in")}
            </Button>
          )}
        </Group>
      </header>
      {commands && (
        <Suspense fallback={null}>
          <Palette
            onClose={palette.close}
            pages={[...entries, ["API explorer", "/devcenter-api-2.0"] as const].map(([label, to]) => ({
              id: to,
              label: t(label),
              hint: t("Page"),
              run: () => navigate(to),
            }))}
          />
        </Suspense>
      )}
      <nav className="nav" aria-label={t("Navigation")}>
        <NavList items={logs ? MAIN : MAIN.slice(0, 1)} />
        {admin && (
          <>
            <Text size="xs" fw={700} tt="uppercase" className="nav-head" id="nav-administration">
              {t("Administration")}
            </Text>
            <NavList items={ADMINISTRATION} labelledBy="nav-administration" />
          </>
        )}
        <Box className="nav-foot">
          {info.has_ca_root && (
            <a href={`${BASE}/systeminfo/getcert`} download className="nav-small">
              {t("CA certificate")}
            </a>
          )}
          {user && (
            <Link to="/devcenter-api-2.0" className="nav-small">
              {t("API explorer")}
            </Link>
          )}
          {info.harbor_version && <span className="nav-small">{info.harbor_version}</span>}
        </Box>
      </nav>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it */}
      <main className="main" id="main" tabIndex={0} ref={main} data-path={path}>
        {info.read_only && (
          <Alert color="orange" mb="md" title={t("The registry is read-only")}>
            {t("Pulls work; pushes and changes are refused until an administrator ends read-only mode.")}
          </Alert>
        )}
        {info.dr_role && info.dr_role !== "active" && (
          <Alert color="orange" mb="md" title={t("This site is on standby")}>
            {t("Pulls work; pushes and changes are refused here.")}{" "}
            {info.active_site_url && (
              <>
                {t("Make them at the active site:")} <a href={info.active_site_url}>{info.active_site_url}</a>
              </>
            )}
          </Alert>
        )}
        <Banner />
        {children}
      </main>
    </div>
  );
}

function NavList({ items, labelledBy }: { items: [Key, string, Icon][]; labelledBy?: string }) {
  const { t } = useI18n();
  return (
    <ul aria-labelledby={labelledBy}>
      {items.map(([label, to, Icon]) => (
        <li key={to}>
          <NavLink to={to} className={({ isActive }) => (isActive ? "nav-link active" : "nav-link")}>
            <Icon size={17} strokeWidth={1.8} aria-hidden />
            {t(label)}
          </NavLink>
        </li>
      ))}
    </ul>
  );
}

function GlobalSearch() {
  const { t } = useI18n();
  const navigate = useNavigate();
  const location = useLocation();
  const current = location.pathname === "/harbor/search" ? new URLSearchParams(location.search).get("q") : "";
  const [value, setValue] = useState(current ?? "");
  const input = useRef<HTMLInputElement>(null);
  useHotkeys([["/", () => input.current?.focus()]]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (value.trim()) navigate(`/harbor/search?q=${encodeURIComponent(value.trim())}`);
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: <search> is not yet known to every browser
    <form role="search" onSubmit={submit} className="global-search">
      <TextInput
        ref={input}
        type="search"
        size="sm"
        value={value}
        onChange={(event) => setValue(event.currentTarget.value)}
        placeholder={t("Search projects and repositories")}
        aria-label={t("Search projects and repositories")}
        leftSection={<Search size={15} aria-hidden />}
        rightSection={<Kbd size="xs">/</Kbd>}
        title={t("Ctrl K opens the command palette")}
      />
    </form>
  );
}

/** The button of the event log, which says how much runs. */
function Operations({ user }: { user: number }) {
  const { t } = useI18n();
  const [opened, panel] = useDisclosure(false);
  const running = useOperations().filter((item) => item.state === "running").length;
  useEffect(() => {
    openFor(user);
    return watch();
  }, [user]);
  return (
    <>
      <ActionIcon
        variant="transparent"
        color="white"
        size="lg"
        className="event-log-button"
        aria-label={running ? t("Event log, {n} running", { n: running }) : t("Event log")}
        onClick={panel.open}
      >
        <History size={18} aria-hidden />
        {running > 0 && <span aria-hidden>{running}</span>}
      </ActionIcon>
      <Suspense fallback={null}>{opened && <EventLog onClose={panel.close} />}</Suspense>
    </>
  );
}

function LanguageMenu() {
  const { language, setLanguage, t } = useI18n();
  return (
    <ButtonMenu
      target={
        <ActionIcon variant="transparent" color="white" size="lg" aria-label={t("Language")}>
          <Languages size={18} aria-hidden />
        </ActionIcon>
      }
      items={(Object.keys(LANGUAGES) as Language[]).map((code) => ({
        label: LANGUAGES[code],
        chosen: language === code,
        lang: code,
        run: () => setLanguage(code),
      }))}
    />
  );
}

function UserMenu() {
  const { user, refresh } = useSession();
  const { t } = useI18n();
  const navigate = useNavigate();
  const [shown, setShown] = useState<"preferences" | "about" | null>(null);
  const leave = async () => {
    if (user!.oidc_user_meta) {
      window.location.assign(PROVIDER_LOGOUT);
      return;
    }
    await logout().catch(() => {});
    navigate("/account/sign-in");
    await refresh();
  };
  return (
    <>
      <Suspense fallback={null}>
        {shown === "preferences" && <Preferences onClose={() => setShown(null)} />}
        {shown === "about" && <About onClose={() => setShown(null)} />}
      </Suspense>
      <ButtonMenu
        width={200}
        target={
          <UnstyledButton
            className="user-button"
            aria-label={t("Account of {name}", { name: user!.username })}
          >
            <CircleUser size={18} aria-hidden />
            <span>{user!.username}</span>
            <ChevronDown size={14} aria-hidden />
          </UnstyledButton>
        }
        items={[
          {
            label: t("Profile and password"),
            icon: <Cable size={15} aria-hidden />,
            run: () => navigate("/harbor/profile"),
          },
          {
            label: t("Preferences"),
            icon: <SlidersHorizontal size={15} aria-hidden />,
            run: () => setShown("preferences"),
          },
          { label: t("About Seawall"), icon: <Info size={15} aria-hidden />, run: () => setShown("about") },
          { label: t("Sign out"), icon: <LogOut size={15} aria-hidden />, run: leave },
        ]}
      />
    </>
  );
}

function Banner() {
  const { info } = useSession();
  const [closed, setClosed] = useState(false);
  if (!info.banner_message || closed) return null;
  let banner: { message?: string; type?: string; closable?: boolean; fromDate?: string; toDate?: string };
  try {
    banner = JSON.parse(info.banner_message);
  } catch {
    banner = { message: info.banner_message };
  }
  const now = Date.now();
  const day = 86_400_000;
  if (!banner.message) return null;
  if (banner.fromDate && new Date(banner.fromDate).valueOf() > now) return null;
  if (banner.toDate && new Date(banner.toDate).valueOf() + day < now) return null;
  const color = { warning: "orange", danger: "red", success: "teal" }[banner.type ?? ""] ?? "sea";
  return (
    <Alert color={color} mb="md" withCloseButton={banner.closable} onClose={() => setClosed(true)}>
      {banner.message}
    </Alert>
  );
}
