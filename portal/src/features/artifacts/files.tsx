// Files that an artifact brings along: the README of a chart as text, its values, its dependencies as a table.
import { useQuery } from "@tanstack/react-query";
import { Suspense } from "react";
import { api } from "../../api/client";
import { DataTable } from "../../components/table";
import { Await, Empty, Loading } from "../../components/ui";
import { useI18n } from "../../i18n";
import { part } from "../../lib/pages";
import { ROOT, type Where } from "./where";

// Its parser and sanitiser are fetched with the first text that needs them.
export const Markdown = part<"Markdown", { text: string }>(
  () => import("../../components/markdown"),
  "Markdown",
);

interface Dependency {
  name: string;
  version?: string;
  repository?: string;
}

function dependencies(text: string): Dependency[] | null {
  try {
    const found = JSON.parse(text);
    return Array.isArray(found) ? found : null;
  } catch {
    return null;
  }
}

export function Addition({ where, name }: { where: Where; name: string }) {
  const { t } = useI18n();
  const query = useQuery({
    queryKey: ["addition", where, name],
    queryFn: ({ signal }) =>
      api.text(`${ROOT}/additions/{addition}`, { path: { ...where, addition: name }, signal }),
  });
  return (
    <Await query={query}>
      {(text) => {
        if (!text.trim()) return <Empty title={t("Empty")} />;
        if (name === "readme.md") {
          return (
            <div className="card">
              <Suspense fallback={<Loading />}>
                <Markdown text={text} />
              </Suspense>
            </div>
          );
        }
        const listed = name === "dependencies" ? dependencies(text) : null;
        if (listed) {
          return (
            <DataTable
              label={t("Dependencies")}
              list={{ rows: listed }}
              rowKey={(row) => `${row.name} ${row.version} ${row.repository}`}
              empty={<Empty title={t("No dependencies")} />}
              columns={[
                { title: t("Name"), cell: (row) => <b>{row.name}</b> },
                { title: t("Version"), cell: (row) => row.version || "–" },
                {
                  title: t("Repository"),
                  cell: (row) => <span className="wrap">{row.repository || "–"}</span>,
                },
              ]}
            />
          );
        }
        return (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
          <pre className="code-block markdown" tabIndex={0}>
            {name === "values.yaml" ? <Yaml text={text} /> : text}
          </pre>
        );
      }}
    </Await>
  );
}

/** YAML with its keys, texts and comments separated, line by line. */
function Yaml({ text }: { text: string }) {
  return (
    <>
      {text.split("\n").map((line, index) => {
        const comment = /(^|\s)#.*$/.exec(line);
        const code = comment ? line.slice(0, comment.index) : line;
        const key = /^(\s*(?:- )*)([^\s:#][^:#]*)(:)(?=\s|$)/.exec(code);
        return (
          <span key={index}>
            {key ? (
              <>
                {key[1]}
                <span className="yaml-key">{key[2]}</span>:{code.slice(key[0].length)}
              </>
            ) : (
              code
            )}
            {comment && <span className="yaml-comment">{line.slice(comment.index)}</span>}
            {"\n"}
          </span>
        );
      })}
    </>
  );
}
