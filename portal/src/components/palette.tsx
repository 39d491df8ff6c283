// The command palette (Ctrl K): every page, and projects and repositories as one types.
import { Kbd, Loader, Modal, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { Search } from "lucide-react";
import { type KeyboardEvent, useEffect, useId, useRef, useState } from "react";
import { useNavigate } from "react-router";
import type { SearchResult } from "../api/types";
import { within } from "../features/repositories/names";
import { imageOf, isCve, isDigest } from "../features/search/words";
import { useGet } from "../hooks";
import { useI18n } from "../i18n";
import { shortDigest } from "../lib/format";
import { useSession } from "../session";

export interface Command {
  id: string;
  label: string;
  hint?: string;
  run: () => void;
}

export function Palette({ pages, onClose }: { pages: Command[]; onClose: () => void }) {
  const { t } = useI18n();
  const { admin } = useSession();
  const navigate = useNavigate();
  const list = useId();
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const [asked] = useDebouncedValue(text.trim(), 150);
  const found = useGet<SearchResult>("/search", { query: { q: asked } }, { enabled: asked.length > 0 });
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const matching = pages.filter((page) => words.every((word) => page.label.toLowerCase().includes(word)));
  const results = asked ? found.data : undefined;
  // What the search answers beside names.
  const questions = [
    admin && isCve(text) && t("Where is {cve}?", { cve: text.trim() }),
    isDigest(text) && t("Where is layer {digest}?", { digest: shortDigest(text.trim()) }),
    !!imageOf(text) && t("What is built on {name}?", { name: text.trim() }),
  ].filter((label) => label !== false);
  const commands: Command[] = [
    ...(results?.project ?? []).slice(0, 6).map((item) => ({
      id: `p${item.project_id}`,
      label: item.name ?? "",
      hint: t("Project"),
      run: () => navigate(`/harbor/projects/${item.project_id}/repositories`),
    })),
    ...(results?.repository ?? []).slice(0, 8).map((item) => ({
      id: `r${item.repository_name}`,
      label: item.repository_name ?? "",
      hint: t("Repository"),
      run: () =>
        navigate(
          `/harbor/projects/${item.project_id}/repositories/${encodeURIComponent(within(item.project_name ?? "", item.repository_name ?? ""))}/artifacts-tab`,
        ),
    })),
    ...matching,
    ...questions.map((label) => ({
      id: label,
      label,
      hint: t("Search"),
      run: () => navigate(`/harbor/search?q=${encodeURIComponent(text.trim())}`),
    })),
  ];
  const current = Math.min(at, Math.max(0, commands.length - 1));
  const active = useRef<HTMLDivElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another entry is the reason to scroll
  useEffect(() => active.current?.scrollIntoView({ block: "nearest" }), [current]);
  const run = (command: Command | undefined) => {
    if (!command) return;
    onClose();
    command.run();
  };
  const keys = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown") setAt(Math.min(current + 1, commands.length - 1));
    else if (event.key === "ArrowUp") setAt(Math.max(current - 1, 0));
    else if (event.key === "Enter") run(commands[current]);
    else return;
    event.preventDefault();
  };
  return (
    <Modal.Root opened onClose={onClose} padding={0} size="lg" transitionProps={{ duration: 0 }}>
      <Modal.Overlay />
      <Modal.Content aria-label={t("Commands")}>
        <Modal.Body>
          <TextInput
            data-autofocus
            size="md"
            variant="unstyled"
            px="md"
            role="combobox"
            aria-expanded
            aria-controls={list}
            aria-activedescendant={commands[current] ? `${list}-${current}` : undefined}
            aria-label={t("Go to a page, a project or a repository")}
            placeholder={t("Go to a page, a project or a repository")}
            leftSection={<Search size={17} aria-hidden />}
            rightSection={found.isFetching ? <Loader size={14} /> : <Kbd size="xs">Esc</Kbd>}
            value={text}
            onChange={(event) => {
              setText(event.currentTarget.value);
              setAt(0);
            }}
            onKeyDown={keys}
          />
          <div className="palette" id={list} role="listbox" aria-label={t("Commands")} tabIndex={-1}>
            {commands.map((command, index) => (
              // biome-ignore lint/a11y/useKeyWithClickEvents: the text field above has the keys
              <div
                key={command.id}
                id={`${list}-${index}`}
                ref={index === current ? active : undefined}
                role="option"
                tabIndex={-1}
                aria-selected={index === current}
                onClick={() => run(command)}
                onMouseMove={() => setAt(index)}
              >
                <span>{command.label}</span>
                <span className="palette-hint">{command.hint}</span>
              </div>
            ))}
          </div>
          {!commands.length && !found.isFetching && <p className="palette-none">{t("Nothing matches")}</p>}
        </Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}
