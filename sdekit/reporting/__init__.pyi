from .report_writer import (
    Report as Report,
    ReportOptions as ReportOptions,
    check_report_path as check_report_path,
    default_report_path as default_report_path,
    write_report as write_report,
)
