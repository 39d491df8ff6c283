import type { Quota } from "../../api/types";
import { Card } from "../../components/ui";
import { useI18n } from "../../i18n";
import { bytes } from "../../lib/format";

/** The fullest projects as bars, longest first; each bar has its number next to it. */
export function UsageChart({ quotas }: { quotas: Quota[] }) {
  const { t } = useI18n();
  const most = Math.max(...quotas.map((row) => row.used?.storage ?? 0), 1);
  return (
    <Card title={t("Where the storage goes")}>
      <ul className="bars">
        {quotas.map((row) => (
          <li key={row.id}>
            <span className="bars-name" title={row.ref?.name}>
              {row.ref?.name}
            </span>
            <span className="bars-track">
              <span
                className="bars-fill"
                style={{ width: `${Math.max(0.5, (100 * (row.used?.storage ?? 0)) / most)}%` }}
              />
            </span>
            <span className="bars-value">{bytes(row.used?.storage)}</span>
          </li>
        ))}
      </ul>
    </Card>
  );
}
