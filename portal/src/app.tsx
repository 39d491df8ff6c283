import { Center, Container } from "@mantine/core";
import { type ReactNode, Suspense, useEffect } from "react";
import { Navigate, Route, Routes, useLocation, useParams } from "react-router";
import { toProvider } from "./api/client";
import { Boundary, ConnectionBar } from "./components/boundary";
import { Empty, Failure, Loading, Page } from "./components/ui";
import { SignIn, SignInAgain } from "./features/account/sign-in";
import { useT } from "./i18n";
import { page, part } from "./lib/pages";
import { SessionProvider, useSession } from "./session";

const Shell = part<"Shell", { children: ReactNode }>(() => import("./components/shell"), "Shell");
const Projects = page(() => import("./features/projects/list"), "Projects");
const Project = page(() => import("./features/projects/page"), "ProjectPage");
const Repository = page(() => import("./features/repositories/page"), "RepositoryPage");
const Artifact = page(() => import("./features/artifacts/page"), "ArtifactPage");
const Compare = page(() => import("./features/artifacts/compare"), "Compare");
const Logs = page(() => import("./features/logs/page"), "Logs");
const Search = page(() => import("./features/search/page"), "SearchPage");
const Explorer = page(() => import("./features/explorer/page"), "Explorer");
const Overview = page(() => import("./features/overview/page"), "Overview");
const Users = page(() => import("./features/users/users"), "Users");
const Groups = page(() => import("./features/users/groups"), "Groups");
const Robots = page(() => import("./features/robots/list"), "SystemRobots");
const Registries = page(() => import("./features/replication/registries"), "Registries");
const Replications = page(() => import("./features/replication/rules"), "Replications");
const Distribution = page(() => import("./features/preheat/instances"), "Distribution");
const Labels = page(() => import("./features/labels/list"), "SystemLabels");
const Quotas = page(() => import("./features/quotas/page"), "Quotas");
const Interrogation = page(() => import("./features/scanning/page"), "Interrogation");
const CleanUp = page(() => import("./features/cleanup/page"), "CleanUp");
const Jobs = page(() => import("./features/jobs/page"), "Jobs");
const Configuration = page(() => import("./features/configuration/page"), "Configuration");
const Cluster = page(() => import("./features/cluster/page"), "Cluster");
const Onboard = page(() => import("./features/account/onboard"), "Onboard");
const Profile = page(() => import("./features/account/profile"), "Profile");
const SecondFactor = page(() => import("./features/account/second-factor"), "SecondFactor");
const Device = page(() => import("./features/account/let-in"), "Device");
const Authorize = page(() => import("./features/account/let-in"), "Authorize");

export function App() {
  return (
    <SessionProvider
      fallback={(error) => (
        <Center h="100vh">
          <Container size="xs">
            <Failure error={error} retry={() => location.reload()} />
          </Container>
        </Center>
      )}
    >
      <ConnectionBar />
      <Ended />
      <Routes>
        <Route path="/account/sign-in" element={<SignIn />} />
        <Route
          path="/oidc-onboard"
          element={
            <Boundary>
              <Suspense fallback={<Loading />}>
                <Onboard />
              </Suspense>
            </Boundary>
          }
        />
        <Route
          path="/*"
          element={
            <Boundary>
              <Suspense fallback={<Loading />}>
                <Inside />
              </Suspense>
            </Boundary>
          }
        />
      </Routes>
    </SessionProvider>
  );
}

// Addresses of Harbor's portal, old and new, for which this portal has another.
const REPOSITORY = "/harbor/projects/:project/repositories/:repository";
const BOOKMARKS: [string, string][] = [
  [`${REPOSITORY}/artifacts-tab/depth/*`, `${REPOSITORY}/artifacts-tab/*`],
  [`${REPOSITORY}/artifacts-tab/artifacts`, `${REPOSITORY}/artifacts-tab`],
  ["/harbor/projects/:project/tag-strategy/:kind", "/harbor/projects/:project/tag-strategy#:kind"],
  ["/harbor/projects/:project/tag-retention", "/harbor/projects/:project/tag-strategy#tag-retention"],
  ["/harbor/projects/:project/immutable-tag", "/harbor/projects/:project/tag-strategy#immutable-tag"],
  ["/harbor/projects/:project/p2p-provider/:kind/*", "/harbor/projects/:project/p2p-provider"],
  ["/harbor/projects/:project/logs/:kind", "/harbor/projects/:project/logs"],
  ["/harbor/projects/:project/robot", "/harbor/projects/:project/robot-account"],
  ["/harbor/projects/:project/webhook/:kind/*", "/harbor/projects/:project/webhook"],
  ["/harbor/logs/:kind", "/harbor/logs"],
  ["/harbor/distribution", "/harbor/distribution/instances"],
  ["/harbor/replications/:id/*", "/harbor/replications?rule=:id"],
  ["/harbor/replication/*", "/harbor/replications"],
  ["/harbor/repositories", "/harbor/projects"],
  ["/harbor/gc", "/harbor/clearing-job/gc"],
  ["/harbor/system-labels", "/harbor/labels"],
  ["/harbor/vulnerability", "/harbor/interrogation-services/vulnerability"],
  ["/harbor/sign-in", "/account/sign-in"],
  ["/harbor/home", "/harbor/projects"],
];

/** Fills `:name` and `*` of an address with what the address that was asked for has there. */
function Moved({ to }: { to: string }) {
  const params = useParams();
  const { search } = useLocation();
  const filled = to
    .replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ""))
    // The rest of the address; of a depth (digests of indexes on the way) only the artifact at its end counts.
    .replace("*", () => (params["*"] ?? "").replace(/^.*?(?=artifacts\/|$)/, ""))
    .replace(/\/$/, "");
  return <Navigate to={filled + (to.includes("?") ? "" : search)} replace />;
}

// What anybody may look at without an account: public projects.
const OPEN = /^\/harbor\/(projects|search)(\/|$)/;

function Ended() {
  const { ended } = useSession();
  return ended ? <SignInAgain /> : null;
}

function Inside() {
  const { user, admin, info } = useSession();
  const location = useLocation();
  const away = !user && !OPEN.test(location.pathname);
  const atOnce = away && info.auth_mode === "oidc_auth" && info.primary_auth_mode;
  const here = location.pathname + location.search;
  useEffect(() => {
    if (atOnce) toProvider(here);
  }, [atOnce, here]);
  if (atOnce) return <Loading />;
  if (away) {
    const target = location.pathname === "/" ? "" : `?redirect_url=${encodeURIComponent(here)}`;
    return <Navigate to={`/account/sign-in${target}`} replace />;
  }
  // The session is for setting up the second factor that is required, and for nothing else.
  if (user?.second_factor_needed) {
    return (
      <main className="sign-in">
        <Suspense fallback={<Loading />}>
          <SecondFactor />
        </Suspense>
      </main>
    );
  }
  return (
    <Shell>
      <Boundary reset={location.pathname}>
        <Suspense fallback={<Loading />}>
          <Routes>
            <Route path="/" element={<Navigate to="/harbor/projects" replace />} />
            <Route path="/harbor" element={<Navigate to="/harbor/projects" replace />} />
            <Route path="/harbor/projects" element={<Projects />} />
            {BOOKMARKS.map(([from, to]) => (
              <Route key={from} path={from} element={<Moved to={to} />} />
            ))}
            <Route path="/harbor/projects/:project/repositories/:repository" element={<Repository />} />
            <Route path="/harbor/projects/:project/repositories/:repository/compare" element={<Compare />} />
            <Route path="/harbor/projects/:project/repositories/:repository/:tab" element={<Repository />} />
            <Route
              path="/harbor/projects/:project/repositories/:repository/artifacts-tab/artifacts/:reference"
              element={<Artifact />}
            />
            <Route path="/harbor/projects/:project/:tab?" element={<Project />} />
            <Route path="/harbor/search" element={<Search />} />
            <Route path="/harbor/logs" element={<Logs />} />
            <Route path="/devcenter-api-2.0" element={<Explorer />} />
            <Route path="/harbor/profile" element={<Profile />} />
            <Route path="/device" element={<Device />} />
            <Route path="/oauth/authorize" element={<Authorize />} />
            <Route
              path="/harbor/dashboard"
              element={admin ? <Overview /> : <Navigate to="/harbor/projects" replace />}
            />
            {admin && (
              <>
                <Route path="/harbor/users" element={<Users />} />
                <Route path="/harbor/groups" element={<Groups />} />
                <Route path="/harbor/robot-accounts" element={<Robots />} />
                <Route path="/harbor/registries" element={<Registries />} />
                <Route path="/harbor/replications/:tab?" element={<Replications />} />
                <Route path="/harbor/labels" element={<Labels />} />
                <Route path="/harbor/distribution/instances" element={<Distribution />} />
                <Route path="/harbor/project-quotas" element={<Quotas />} />
                <Route path="/harbor/interrogation-services/:tab?" element={<Interrogation />} />
                <Route path="/harbor/clearing-job/:tab?" element={<CleanUp />} />
                <Route path="/harbor/job-service-dashboard/:tab?" element={<Jobs />} />
                <Route path="/harbor/configs/:tab?" element={<Configuration />} />
                <Route path="/harbor/cluster/:tab?" element={<Cluster />} />
              </>
            )}
            <Route path="*" element={<NotFound />} />
          </Routes>
        </Suspense>
      </Boundary>
    </Shell>
  );
}

function NotFound() {
  const t = useT();
  return (
    <Page title={t("This page does not exist")}>
      <Empty title={t("Not found")}>{t("Or you are not allowed to see it.")}</Empty>
    </Page>
  );
}
