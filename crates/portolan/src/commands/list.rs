//! `portolan list`: the clusters of this machine.

use crate::cluster::record::Record;

/// Prints a line for each cluster, with aligned columns.
pub(crate) fn main() -> anyhow::Result<()> {
    let clusters = Record::all();
    if clusters.is_empty() {
        println!("no clusters; portolan up starts one");
        return Ok(());
    }
    let rows = clusters.iter().map(|cluster| {
        [
            cluster.name.clone(),
            state(cluster).to_owned(),
            if cluster.sandbox { "sandbox" } else { "machine" }.to_owned(),
            cluster.nodes.len().to_string(),
            cluster.data_dir.display().to_string(),
        ]
    });
    print!("{}", table(["NAME", "STATE", "KIND", "NODES", "DATA"], rows));
    Ok(())
}

/// Whether the process of a cluster runs.
pub(crate) fn state(cluster: &Record) -> &'static str {
    if cluster.is_running() { "running" } else { "stopped" }
}

/// Rows below their heads, in columns as wide as their widest cell.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let widths: Vec<usize> =
        (0..N).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let line: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        text.push_str(line.join("   ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "1".to_owned()], ["longer".to_owned(), "2".to_owned()]];
        assert_eq!(table(["NAME", "N"], rows.into_iter()), "NAME     N\na        1\nlonger   2\n");
    }
}
