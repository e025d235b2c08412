"""What Cinder's NFS driver and cinder-backup do wrong together, without an error (measured with Cinder 28), put right.

- With a snapshot, the newest data is in a QCOW2 file above the volume's own. A backup would copy that file as if it were the
  volume (1 MB kept of 200), and a restore would overwrite it.
- A restore leaves out zeros at the end, and so makes the volume smaller than it was (200 MB of 1 GB).
"""

import os

from cinder import exception
from cinder import objects
from cinder.volume.drivers import nfs


class NfsDriver(nfs.NfsDriver):
    def get_backup_device(self, context, backup):
        volume = objects.Volume.get_by_id(context, backup.volume_id)
        in_use = volume.previous_status == "in-use"
        if backup.snapshot_id or in_use or not self._snapshots_exist(volume):
            return super().get_backup_device(context, backup)
        # As Cinder does with a volume in use; it removes the clone when the backup is done.
        clone = self._create_temp_cloned_volume(context, volume, status="backing-up")
        backup.temp_volume_id = clone.id
        backup.save()
        return clone, False


def mend_backup():
    """Of what cinder-backup reads, the driver above makes clones: QCOW2 is only met when a volume is to be restored."""
    from cinder.backup.manager import BackupManager

    connect, detach = BackupManager._connect_device, BackupManager._detach_device

    def connect_plain(self, connection):
        if connection["data"].get("format") == "qcow2":
            raise exception.InvalidVolume(reason="it has snapshots: restore into another volume, or delete them")
        return connect(self, connection)

    def detach_whole(self, context, attached, device, *args, **kwargs):
        path, nfs_share = attached["device"]["path"], attached["conn"]["driver_volume_type"] == "nfs"
        if nfs_share and isinstance(device, objects.Volume) and os.path.getsize(path) < device.size << 30:
            os.truncate(path, device.size << 30)
        return detach(self, context, attached, device, *args, **kwargs)

    BackupManager._connect_device, BackupManager._detach_device = connect_plain, detach_whole
