// Where a layer is, and what is built on an image: artifacts of every project that the person may see.
import { Anchor, Text } from "@mantine/core";
import { Link } from "react-router";
import type { LayerHolder } from "../../api/types";
import { DataTable } from "../../components/table";
import { Card, Digest, Empty, Time } from "../../components/ui";
import { type List, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { artifactPath, within } from "../repositories/names";
import { platformOf } from "./kind";
import type { Where } from "./where";
import { ROOT } from "./where";

export function HoldersOfLayer({ digest }: { digest: string }) {
  const { t } = useI18n();
  const list = useList<LayerHolder>("/layers/{digest}/artifacts", { path: { digest }, address: "layer_" });
  const title = t("Artifacts with this layer");
  return (
    <Card title={title}>
      <Holders label={title} none={t("No artifact that you may see has it")} list={list} />
    </Card>
  );
}

export function BuiltOn({ where, name, address }: { where: Where; name: string; address: string }) {
  const { t } = useI18n();
  const list = useList<LayerHolder>(`${ROOT}/built-on`, { path: where, address });
  return (
    <Holders
      label={t("Images built on {name}", { name })}
      none={t("No image that you may see is built on it")}
      list={list}
    />
  );
}

function Holders(props: { label: string; none: string; list: List<LayerHolder> }) {
  const { t } = useI18n();
  return (
    <DataTable
      label={props.label}
      list={props.list}
      rowKey={(row) => `${row.repository_name}@${row.digest}`}
      empty={<Empty title={props.none} />}
      columns={[
        {
          title: t("Repository"),
          cell: (row) => (
            <Anchor component={Link} to={pathOf(row, row.tags[0] ?? row.digest)} className="wrap" fw={600}>
              {row.repository_name}
            </Anchor>
          ),
        },
        {
          title: t("Tags"),
          cell: (row) => (
            <span className="wrap">
              {row.tags.slice(0, 5).join(", ") || "–"}
              {row.tags.length > 5 && ` ${t("and {n} more", { n: row.tags.length - 5 })}`}
            </span>
          ),
        },
        {
          title: t("Artifact"),
          cell: (row) => <Digest value={row.digest} to={pathOf(row, row.digest)} />,
        },
        {
          title: t("Platforms"),
          cell: (row) =>
            row.images.length ? (
              row.images.map((image) => (
                <Anchor
                  key={image.digest}
                  component={Link}
                  to={pathOf(row, image.digest)}
                  size="sm"
                  display="block"
                  className="nowrap"
                >
                  {platformOf(image) || image.digest.slice(7, 19)}
                </Anchor>
              ))
            ) : (
              <Text size="sm" c="dimmed">
                –
              </Text>
            ),
        },
        { title: t("Pushed"), cell: (row) => <Time value={row.push_time} /> },
      ]}
    />
  );
}

const pathOf = (row: LayerHolder, reference: string) =>
  artifactPath(row.project_id, within(row.repository_name.split("/")[0], row.repository_name), reference);
