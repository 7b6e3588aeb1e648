//! The JSON lines between the daemon and a trainer: reading what it says, writing what it is told.

use m2t_common::trainer_link::{MAX_LINE, Said, ToTrainer};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A line that is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("its link broke")]
    Read(#[source] std::io::Error),
    #[error("it said a line of more than {MAX_LINE} bytes")]
    TooLong,
    #[error("it stopped in the middle of a line")]
    Torn,
    #[error("it said a line that is no news")]
    NoNews(#[source] serde_json::Error),
}

/// The next news; `None` at the end.
pub(super) async fn read_news(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Said>, LineError> {
    let mut line = Vec::new();
    let n_read = reader
        .take(MAX_LINE as u64)
        .read_until(b'\n', &mut line)
        .await
        .map_err(LineError::Read)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => serde_json::from_slice(&line).map(Some).map_err(LineError::NoNews),
        Some(_) if n_read == MAX_LINE => Err(LineError::TooLong),
        Some(_) => Err(LineError::Torn),
    }
}

/// Says one line.
pub(super) async fn write_line(
    writer: &mut (impl AsyncWrite + Unpin),
    line: &ToTrainer,
) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    writer.write_all(&bytes).await
}

#[cfg(test)]
mod tests {
    use m2t_common::report::News;
    use m2t_common::{Generation, Step};

    use super::*;

    #[tokio::test]
    async fn news_are_read_line_by_line_and_nonsense_is_named() {
        let mut good: &[u8] =
            b"{\"generation\":2,\"news\":\"ready\",\"step\":3}\n{\"generation\":0,\"news\":\"warm\"}\n";
        for (generation, news) in [(2, News::Ready { step: Step(3) }), (0, News::Warm)] {
            let generation = Generation(generation);
            assert_eq!(
                read_news(&mut good).await.unwrap(),
                Some(Said { generation, news })
            );
        }
        assert_eq!(read_news(&mut good).await.unwrap(), None);
        let mut torn: &[u8] = b"{\"news\":\"ready\"";
        assert!(matches!(read_news(&mut torn).await, Err(LineError::Torn)));
        let mut strange: &[u8] = b"hello\n";
        assert!(matches!(read_news(&mut strange).await, Err(LineError::NoNews(_))));
        let long = vec![b'x'; MAX_LINE + 10];
        assert!(matches!(
            read_news(&mut long.as_slice()).await,
            Err(LineError::TooLong)
        ));
    }

    #[tokio::test]
    async fn a_line_is_one_line() {
        let mut written = Vec::new();
        let generation = Generation(3);
        write_line(&mut written, &ToTrainer::Hold { generation })
            .await
            .unwrap();
        assert_eq!(written, b"{\"do\":\"hold\",\"generation\":3}\n");
    }
}
