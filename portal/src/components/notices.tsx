// What was done, or not. A file of its own, fetched once the first page stands.
import { Notifications } from "@mantine/notifications";

export function Notices() {
  return <Notifications position="top-right" autoClose={4000} className="notices" />;
}
