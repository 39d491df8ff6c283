import type { Label } from "../../api/types";

export function LabelChip({ label }: { label: Label }) {
  return (
    <span className="label" title={label.description || undefined}>
      <i style={{ background: label.color || "#888" }} aria-hidden />
      {label.name}
    </span>
  );
}
