// Storage by day, as a line with its area, and the same in a table.
import { Anchor, Box, Group, Table, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useId } from "react";
import { Link } from "react-router";
import type { StorageHistory, StorageOfDay } from "../../api/types";
import { Await, Card } from "../../components/ui";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { bytes, day } from "../../lib/format";

const MILLISECONDS = 86_400_000;

/** The points in a box of 100 by 100. A day without a figure is bridged. */
function drawn(days: StorageOfDay[], most: number): string {
  const first = Date.parse(days[0].day);
  const span = Math.max(Date.parse(days[days.length - 1].day) - first, MILLISECONDS);
  const points = days.map((item) => [
    (100 * (Date.parse(item.day) - first)) / span,
    98 - (95 * item.used) / Math.max(most, 1),
  ]);
  // One figure is a level line.
  if (points.length === 1) points.push([100, points[0][1]]);
  return points.map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`).join(" ");
}

function Line({ days, className }: { days: StorageOfDay[]; className: string }) {
  const { t, language } = useI18n();
  const [first, last] = [days[0], days[days.length - 1]];
  const points = drawn(days, Math.max(...days.map((item) => item.used)));
  return (
    <svg
      className={className}
      viewBox="0 0 100 100"
      preserveAspectRatio="none"
      role="img"
      aria-label={t("{first} on {from}, {last} on {to}", {
        first: bytes(first.used),
        from: day(first.day, language),
        last: bytes(last.used),
        to: day(last.day, language),
      })}
    >
      <polygon points={`0,100 ${points} 100,100`} />
      <polyline points={points} />
    </svg>
  );
}

function Ends({ days }: { days: StorageOfDay[] }) {
  const { language } = useI18n();
  return (
    <Group justify="space-between">
      {[days[0], days[days.length - 1]].map((item, end) => (
        <Text size="sm" c="dimmed" key={end ? "last" : "first"}>
          {day(item.day, language)}: {bytes(item.used)}
        </Text>
      ))}
    </Group>
  );
}

/** Every figure, newest day first; a column for each of `columns`. */
function Figures({ columns }: { columns: { name: string; days: StorageOfDay[] }[] }) {
  const { t, language } = useI18n();
  const [open, { toggle }] = useDisclosure(false);
  const id = useId();
  const used = columns.map((column) => new Map(column.days.map((item) => [item.day, item.used])));
  const dates = [...new Set(columns.flatMap((column) => column.days.map((item) => item.day)))];
  return (
    <>
      <Anchor component="button" size="sm" mt="sm" onClick={toggle} aria-expanded={open} aria-controls={id}>
        {open ? t("Hide the figures") : t("Show the figures")}
      </Anchor>
      <div id={id}>
        {open && (
          // What scrolls must be reached with the keyboard.
          <Box className="figures" role="group" tabIndex={0} aria-label={t("Storage over time")}>
            <Table aria-label={t("Storage over time")}>
              <Table.Thead>
                <Table.Tr>
                  <Table.Th>{t("Day")}</Table.Th>
                  {columns.map((column) => (
                    <Table.Th key={column.name} ta="right">
                      {column.name}
                    </Table.Th>
                  ))}
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {dates
                  .sort()
                  .reverse()
                  .map((date) => (
                    <Table.Tr key={date}>
                      <Table.Td className="nowrap">{day(date, language)}</Table.Td>
                      {columns.map((column, index) => (
                        <Table.Td key={column.name} ta="right" className="nowrap">
                          {bytes(used[index].get(date))}
                        </Table.Td>
                      ))}
                    </Table.Tr>
                  ))}
              </Table.Tbody>
            </Table>
          </Box>
        )}
      </div>
    </>
  );
}

/** All projects together, and those that store most, each with a line of its own. */
export function StorageOverTime() {
  const { t } = useI18n();
  const query = useGet<StorageHistory>("/statistics/storage");
  return (
    <Card title={t("Storage over time")}>
      <Await query={query}>
        {({ total, projects }) => (
          <>
            <Line days={total} className="area" />
            <Ends days={total} />
            <ul className="bars" style={{ marginTop: 12 }}>
              {projects.map((row) => (
                <li key={row.project_id}>
                  <span className="bars-name" title={row.name}>
                    <Anchor component={Link} size="sm" to={`/harbor/projects/${row.project_id}`}>
                      {row.name}
                    </Anchor>
                  </span>
                  <Line days={row.days} className="spark" />
                  <span className="bars-value">{bytes(row.days[row.days.length - 1].used)}</span>
                </li>
              ))}
            </ul>
            <Figures columns={[{ name: t("All projects"), days: total }, ...projects]} />
          </>
        )}
      </Await>
    </Card>
  );
}

export function ProjectStorage({ project }: { project: number }) {
  const { t } = useI18n();
  const query = useGet<StorageOfDay[]>("/projects/{project_name_or_id}/storage", {
    path: { project_name_or_id: project },
  });
  return (
    <Card title={t("Storage over time")}>
      <Await query={query}>
        {(days) => (
          <>
            <Line days={days} className="area" />
            <Ends days={days} />
            <Figures columns={[{ name: t("Storage used"), days }]} />
          </>
        )}
      </Await>
    </Card>
  );
}
