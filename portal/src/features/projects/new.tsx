import { useNavigate } from "react-router";
import { api } from "../../api/client";
import type { Registry } from "../../api/types";
import { type Field, FormModal } from "../../components/dialogs";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { useSession } from "../../session";

const UNIT = { MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const;

export function NewProject({ onClose }: { onClose: () => void }) {
  const { t } = useI18n();
  const { admin } = useSession();
  const navigate = useNavigate();
  const registries = useGet<Registry[]>("/registries", { query: { page_size: 100 } }, { enabled: admin });
  const fields: Field[] = [
    {
      name: "name",
      label: t("Project name"),
      required: true,
      placeholder: "library",
      help: t("Lower-case letters, digits and . _ - ; it is the first part of every repository's name."),
      check: (value: string) =>
        !/^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/.test(value) && t("Not a project name"),
    },
    { name: "public", label: t("Public"), type: "switch", help: t("Anyone may pull without signing in.") },
    ...(admin
      ? ([
          {
            name: "limit",
            label: t("Storage quota"),
            type: "number",
            min: -1,
            help: t("-1 means no limit; empty takes the default."),
          },
          {
            name: "unit",
            label: t("Unit"),
            type: "select",
            options: Object.keys(UNIT).map((unit) => ({ value: unit, label: unit })),
            hidden: (values) => values.limit === undefined || values.limit < 0,
          },
          {
            name: "registry",
            label: t("Proxy cache of"),
            type: "select",
            help: t("Pulls are answered from this registry and kept."),
            options: [
              { value: "", label: t("None: an ordinary project") },
              ...(registries.data ?? []).map((item) => ({ value: String(item.id), label: item.name })),
            ],
          },
        ] satisfies Field[])
      : []),
  ];
  return (
    <FormModal
      opened
      onClose={onClose}
      title={t("New project")}
      submit={t("Create")}
      fields={fields}
      initial={{ public: false, unit: "GiB", registry: "" }}
      onSubmit={async (values) => {
        const body: Record<string, unknown> = {
          project_name: values.name,
          metadata: { public: String(!!values.public) },
        };
        if (values.limit !== undefined) {
          body.storage_limit = values.limit < 0 ? -1 : values.limit * UNIT[values.unit as keyof typeof UNIT];
        }
        if (values.registry) body.registry_id = Number(values.registry);
        const id = await api.create("/projects", { body });
        navigate(`/harbor/projects/${id || values.name}/repositories`);
      }}
    />
  );
}
